"""Where each event of a run stands in its diagram: a row an event, a column a node. Pure numbers.

Rows follow the order of events, not their times: a busy millisecond stays readable, and a quiet
minute takes no room. Lengths are in CSS pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import attrs

from transports.testing.trace import Event

State = Literal["absent", "up", "paused", "crashed"]

QUIET: Final = ("ack", "acknowledgement", "heartbeat", "ping", "pong")
"""First words of the texts of frames that carry no message, whatever their case."""
GAP: Final = 0.5
"""Virtual seconds without an event from which on the diagram says how long nothing happened."""
GUTTER: Final = 104
"""Width of the column of times."""
_LEAD: Final = 68
_TRAIL: Final = 150
_WIDEST: Final = 330
_NARROWEST: Final = 170
_ALL_COLUMNS: Final = 870
_GAP_HEIGHT: Final = 30
_HEIGHTS: Final = {"sent": 26, "arrived": 16, "actor": 16, "fault": 28, "node": 32, "note": 28}
_QUIET_HEIGHTS: Final = {"sent": 20, "arrived": 13}
_CROSS_HEIGHT: Final = 20
_BELOW_LABEL: Final = 6

_BEGINS: Final[dict[str, State]] = {
    "started": "up",
    "resumed": "up",
    "crashed": "crashed",
    "paused": "paused",
    "left": "absent",
}


@attrs.frozen
class Row:
    """One event and the strip that it has to itself. y: where its mark is, between top and bottom.

    gap: virtual seconds since the event before it if they are GAP or more, else 0.
    """

    event: Event
    top: int
    y: int
    bottom: int
    gap: float


@attrs.frozen
class Flight:
    """One frame on its way. sent: None if it left before the first event shown.

    arrived: none if it was lost, two if it was doubled. fault: the identity of the fault that
    struck it, "" for none; struck: the row of that fault, if it has one.
    """

    sent: Row | None
    arrived: tuple[Row, ...]
    struck: Row | None
    fault: str

    @property
    def event(self) -> Event:
        """What names both ends and the text."""
        return self.sent.event if self.sent is not None else self.arrived[0].event


@attrs.frozen
class Span:
    """A stretch of a lifeline in one state."""

    node: str
    state: State
    top: int
    bottom: int


@attrs.frozen
class Layout:
    """The whole diagram. columns: x of each lifeline, in the order of the page."""

    columns: dict[str, int]
    pitch: int
    width: int
    height: int
    rows: tuple[Row, ...]
    flights: tuple[Flight, ...]
    spans: tuple[Span, ...]


def is_frame(event: Event) -> bool:
    """Whether it is an end of an arrow."""
    return event.kind in ("sent", "arrived") and event.node != "" and event.peer != ""


def first_word(event: Event) -> str:
    """The first word of its text, without the mark after it; "" for none."""
    return "".join(event.text.split(maxsplit=1)[:1]).rstrip(".,:;")


def is_quiet(event: Event) -> bool:
    """Whether it is a frame with no message in it: a heartbeat or a lone acknowledgement."""
    return is_frame(event) and first_word(event).lower() in QUIET


def arrange(events: Sequence[Event], nodes: Sequence[str]) -> Layout:
    """Give each event its row and each node its column.

    Nodes that only events name come after `nodes`, in the order in which they turn up.
    """
    named = [name for event in events for name in (event.node, event.peer) if name]
    names = list(dict.fromkeys([*nodes, *named]))
    pitch = min(_WIDEST, max(_NARROWEST, _ALL_COLUMNS // max(1, len(names) - 1)))
    columns = {name: GUTTER + _LEAD + pitch * i for i, name in enumerate(names)}
    rows = _rows(events)
    height = (rows[-1].bottom if rows else 0) + 24
    width = GUTTER + _LEAD + pitch * max(0, len(names) - 1) + _TRAIL
    return Layout(
        columns, pitch, width, height, rows, _flights(rows), _spans(rows, tuple(columns), height)
    )


def _rows(events: Sequence[Event]) -> tuple[Row, ...]:
    sent = {event.frame for event in events if event.kind == "sent"}
    # A lost frame ends beside the row of the fault that struck it; without one, it needs the room.
    ended: set[int] = set()
    later: set[int] = set()
    for event in reversed(events):
        if event.kind == "sent" and event.frame in later:
            ended.add(event.frame)
        elif event.kind in ("arrived", "fault"):
            later.add(event.frame)
    rows: list[Row] = []
    top, before = 12, None
    abreast: list[str] = []
    for event in events:
        if rows and _beside(event, rows[-1].event) and event.node not in abreast:
            abreast.append(event.node)
            rows.append(attrs.evolve(rows[-1], event=event, gap=0.0))
            continue
        abreast = [event.node]
        gap = 0.0 if before is None or event.time - before < GAP else event.time - before
        if gap:
            top += _GAP_HEIGHT
        height = _HEIGHTS[event.kind]
        labelled = event.kind == "sent"
        if event.kind == "arrived" and (event.frame not in sent or not event.frame):
            height, labelled = _HEIGHTS["sent"], True
        elif is_quiet(event):
            height = _QUIET_HEIGHTS[event.kind]
        y = top + (height - _BELOW_LABEL if labelled else height // 2)
        if event.kind == "sent" and (event.frame not in ended or not event.frame):
            height += _CROSS_HEIGHT
        rows.append(Row(event, top, y, top + height, gap))
        top, before = top + height, event.time
    return tuple(rows)


def _beside(event: Event, before: Event) -> bool:
    """Whether both are plain changes of nodes at one moment: they share a strip."""
    return event.time == before.time and all(
        each.kind == "node" and not each.peer and not each.fault for each in (event, before)
    )


def _flights(rows: Sequence[Row]) -> tuple[Flight, ...]:
    arrived: dict[int, list[Row]] = {}
    struck: dict[int, Row] = {}
    sent: set[int] = set()
    for row in rows:
        event = row.event
        if event.frame and is_frame(event):
            if event.kind == "sent":
                sent.add(event.frame)
            else:
                arrived.setdefault(event.frame, []).append(row)
        elif event.frame and event.kind == "fault":
            struck.setdefault(event.frame, row)
    flights: list[Flight] = []
    for row in rows:
        event = row.event
        if not is_frame(event):
            continue
        if event.kind == "sent":
            ends = tuple(arrived.get(event.frame, ()))
            by = struck.get(event.frame)
            faults = [event.fault, by.event.fault if by else "", *(end.event.fault for end in ends)]
            flights.append(Flight(row, ends, by, next(filter(None, faults), "")))
        elif event.frame not in sent:
            flights.append(Flight(None, (row,), None, event.fault))
    return tuple(flights)


def _spans(rows: Sequence[Row], nodes: Sequence[str], height: int) -> tuple[Span, ...]:
    spans: list[Span] = []
    for node in nodes:
        changes = [
            (row, _BEGINS[word])
            for row in rows
            if row.event.kind == "node" and row.event.node == node
            if (word := first_word(row.event)) in _BEGINS
        ]
        state, top = _state_before(rows, changes), 0
        for row, after in changes:
            spans.append(Span(node, state, top, row.y))
            state, top = after, row.y
        spans.append(Span(node, state, top, height))
    return tuple(spans)


def _state_before(rows: Sequence[Row], changes: Sequence[tuple[Row, State]]) -> State:
    """What the node was before its first change: told by the change."""
    if not changes:
        return "up"
    word = first_word(changes[0][0].event)
    if word == "resumed":
        return "paused"
    if word == "started":
        # Once the first events are gone, a start is a restart for all that can be seen.
        return "absent" if rows[0].event.number == 1 else "crashed"
    return "up"
