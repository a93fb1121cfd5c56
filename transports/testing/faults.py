"""Faults: what can befall a simulated cluster, each with an identity that can be written down."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, Literal

import attrs

from transports.testing.chance import Dice

OnFrame = Literal["cut", "drop", "corrupt", "duplicate", "delay", "reorder"]
FRAME_FAULTS: Final[tuple[OnFrame, ...]] = (
    "cut", "drop", "corrupt", "duplicate", "delay", "reorder",
)  # fmt: skip
"""What befalls one frame; of several, the first one here. `cut`: its connection breaks. `drop`:
it is lost. `corrupt`: one bit is flipped. `duplicate`: it arrives twice. `delay`: it is late, and
so is all behind it. `reorder`: it is late, and what is behind it arrives before."""

LINK_FAULTS: Final = ("part", "part-one-way", "slow")
"""What befalls two nodes for a while: nothing passes; nothing passes from one to the other; all
that passes from one to the other is late."""

NODE_FAULTS: Final = ("crash", "pause", "skew", "double")
"""What befalls a node: it is gone at once, and starts anew later; it stands still for a while;
its clock goes wrong from its start on; it stands still, is taken for dead and started anew, and
then the old one goes on beside the new one."""

ACTOR_FAULTS: Final = ("raise",)
"""An actor of the application fails, before or at the end of a handler, or in a hook."""

STORE_FAULTS: Final = ("store-lost", "store-unknown", "store-late", "store-slow", "store-expiry")
"""What befalls one call of a node to the engine, or one change that it watches: it is lost (and the
watch with it); it is carried out, and its answer is lost; it arrives late; its answer does; or what
befalls the end of a key's time to live: it is late."""

ENGINE_FAULTS: Final = ("engine-away", "engine-part")
"""What befalls the engine for a while: it answers nobody (an election, a restart), and then all
that has come meanwhile; nothing passes between it and one node."""

KINDS: Final = (
    *FRAME_FAULTS,
    *LINK_FAULTS,
    *NODE_FAULTS,
    *ACTOR_FAULTS,
    *STORE_FAULTS,
    *ENGINE_FAULTS,
)

_NUMBERED: Final = (*FRAME_FAULTS, "skew", *ACTOR_FAULTS, *STORE_FAULTS)
_LIKE: Final[dict[str, str]] = {
    **{kind: f"{kind} n1->n2 DATA #17" for kind in FRAME_FAULTS},
    "part": "part n1<->n2 at 3.5 for 8",
    "part-one-way": "part-one-way n1->n2 at 3.5 for 8",
    "slow": "slow n1->n2 at 3.5 for 8 by 0.3",
    **{kind: f"{kind} n2 at 9.1 for 2.5" for kind in ("crash", "pause", "double")},
    "skew": "skew n2 #1 by 40 rate 1.004",
    "raise": "raise actor://n2/bank receive #3",
    **{kind: f"{kind} n2 UPDATE #3" for kind in ("store-lost", "store-unknown")},
    **{kind: f"{kind} n2 UPDATE #3 by 0.8" for kind in ("store-late", "store-slow")},
    "store-expiry": "store-expiry engine EXPIRY #3 by 2.5",
    "engine-away": "engine-away engine at 3.5 for 2",
    "engine-part": "engine-part n2 at 3.5 for 8",
}


@attrs.frozen
class Fault:
    """One fault. Its text is its identity: `Fault.parse(str(fault)) == fault`.

    kind: of KINDS. where: `n1->n2` (frames and one way), `n1<->n2`, `n1`, `engine`, or an actor's
    address. what: the kind of frame (DATA, ACK, ...), of step (receive, reply, started, ...), or of
    call (CREATE, UPDATE, DELETE, GET, WATCH; EVENT: a change that is watched).
    number: which one, from 1; 0: faults that have a time. at: virtual seconds since the run began.
    lasts: seconds. by: seconds late; the bit that flips; or the seconds that a clock is ahead.
    rate: of a clock.

    Raises:
        ValueError: a kind that there is not; no number where one frame, step or start is meant,
            or one where it is not; or no seconds that it lasts, where it has a time.
    """

    kind: str
    where: str
    what: str = ""
    number: int = 0
    at: float = attrs.field(default=0.0, converter=float)
    lasts: float = attrs.field(default=0.0, converter=float)
    by: float = attrs.field(default=0.0, converter=float)
    rate: float = attrs.field(default=1.0, converter=float)

    def __attrs_post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of fault; there are {', '.join(KINDS)}")
        if (self.number > 0) is not (self.kind in _NUMBERED):
            lacks = "needs a number" if self.kind in _NUMBERED else "has a time, and no number"
            raise ValueError(f"{str(self)!r}: {self.kind} {lacks}, as in {_LIKE[self.kind]!r}")
        if self.kind not in _NUMBERED and not (self.at >= 0 and 0 < self.lasts < math.inf):
            lacks = "lasts for some seconds above 0"
            raise ValueError(f"{str(self)!r}: {self.kind} {lacks}, as in {_LIKE[self.kind]!r}")

    def __str__(self) -> str:
        parts = [self.kind, self.where]
        if self.what:
            parts.append(self.what)
        if self.number:
            parts.append(f"#{self.number}")
        if self.at:
            parts.append(f"at {_exactly(self.at)}")
        if self.lasts:
            parts.append(f"for {_exactly(self.lasts)}")
        if self.by:
            parts.append(f"by {_exactly(self.by)}")
        if self.rate != 1.0:
            parts.append(f"rate {_exactly(self.rate)}")
        return " ".join(parts)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault of a text as `str(fault)` writes it.

        Raises:
            ValueError: it is none.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"{text!r} is no fault; one is written as 'drop n1->n2 DATA #17', "
                "'crash n2 at 9.1 for 2.5' or 'raise actor://n2/bank receive #3'"
            )
        found = match.groupdict()
        numbers = {
            name: float(found[name]) for name in ("at", "lasts", "by", "rate") if found[name]
        }
        return cls(
            found["kind"], found["where"], found["what"] or "", int(found["number"] or 0), **numbers
        )


def _exactly(number: float) -> str:
    return repr(number).removesuffix(".0")


_NUMBER = r"-?[0-9.]+(?:e[+-]?[0-9]+)?"
_TEXT: Final = re.compile(
    rf"(?P<kind>[a-z-]+) (?P<where>\S+)(?: (?P<what>[A-Za-z]+)(?= #))?(?: #(?P<number>[0-9]+))?"
    rf"(?: at (?P<at>{_NUMBER}))?(?: for (?P<lasts>{_NUMBER}))?"
    rf"(?: by (?P<by>{_NUMBER}))?(?: rate (?P<rate>{_NUMBER}))?"
)


def _is_rate(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} is a rate from 0 to 1, not {value!r}")


def _rate(default: float) -> float:
    return attrs.field(default=default, validator=_is_rate)


@attrs.frozen(kw_only=True)
class Faults:
    """The rates of all kinds of faults, each from 0 to 1.

    Of frames: cut, drop, corrupt, duplicate, delay, reorder: of each frame. Of nodes and of pairs
    of nodes: part, part_one_way, slow, crash, pause, double: in each `PERIOD` seconds. skew: of
    each start of a node. fail: of each step of an actor (a handler's begin and end, a hook's
    begin). Where nodes share a store: store_lost, store_unknown, store_late, store_slow: of each
    call; store_expiry: of each key whose time to live ends; engine_away, and of each node
    engine_part: in each PERIOD.

    double is 0 unless it is asked for: an application that has one process of a node's name do
    what must be done once needs help from outside, such as a lock, to bear two.

    swarm: True: each kind is on or off by the seed, so that some runs have few kinds, and much of
    each. (Groce et al., Swarm Testing, ISSTA 2012.)

    Raises:
        ValueError: a rate that is none.
    """

    cut: float = _rate(0.003)
    drop: float = _rate(0.01)
    corrupt: float = _rate(0.005)
    duplicate: float = _rate(0.02)
    delay: float = _rate(0.02)
    reorder: float = _rate(0.02)
    part: float = _rate(0.1)
    part_one_way: float = _rate(0.1)
    slow: float = _rate(0.1)
    crash: float = _rate(0.05)
    pause: float = _rate(0.05)
    skew: float = _rate(0.5)
    double: float = _rate(0.0)
    fail: float = _rate(0.01)
    store_lost: float = _rate(0.01)
    store_unknown: float = _rate(0.02)
    store_late: float = _rate(0.03)
    store_slow: float = _rate(0.03)
    store_expiry: float = _rate(0.2)
    engine_away: float = _rate(0.05)
    engine_part: float = _rate(0.05)
    swarm: bool = True

    @classmethod
    def none(cls) -> Faults:
        """No faults at all: a run on a network that is well."""
        return cls(swarm=False, **dict.fromkeys(_NAMES, 0.0))

    @classmethod
    def only(cls, **rates: float) -> Faults:
        """These kinds, at these rates, in every run; and no others."""
        return cls(swarm=False, **{**dict.fromkeys(_NAMES, 0.0), **rates})

    def rates(self, seed: int) -> Mapping[str, float]:
        """The rate of each kind of fault, by its name in KINDS, in the run with that seed."""
        dice = Dice(seed)
        return {
            kind: getattr(self, name)
            if not self.swarm or dice.fraction("swarm", kind) < 0.5
            else 0.0
            for kind, name in zip(KINDS, _NAMES, strict=True)
        }


_NAMES: Final = tuple("fail" if kind == "raise" else kind.replace("-", "_") for kind in KINDS)

PERIOD: Final = 2.0
"""Seconds in which a node, or a pair of nodes, has one fault of a kind at the most."""
