"""Who may act, who owns what, and in which order messages go: policy, without I/O."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from transports.cluster.lanes import Lane, Route
from transports.cluster.placement import WISHES, Standing, Wish, chosen, standing
from transports.cluster.records import (
    Record,
    Session,
    decode_record,
    decode_session,
    encode,
    owner_key,
    session_key,
    word,
)
from transports.cluster.session import TRANSITIONS, Event, Lease, OwnSession, State
from transports.cluster.store import Current, Deleted, Entry
from transports.cluster.view import Fate, Owned, View

LEASE = Lease(ttl=10.0, margin=1.0)
SMALL = st.floats(0.0, 30.0)


# -- a session


@pytest.mark.parametrize(("ttl", "margin"), [(0.0, 0.0), (-1.0, 0.1), (10.0, 7.0), (10.0, -0.1)])
def test_a_lease_that_could_not_be_kept_is_refused(ttl: float, margin: float) -> None:
    with pytest.raises(ValueError, match="ttl|margin"):
        Lease(ttl=ttl, margin=margin)


def test_every_state_of_a_session_is_left_and_entered() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert set(TRANSITIONS.values()) == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


@given(sent=SMALL, back=SMALL)
def test_a_node_may_act_until_its_ttl_less_the_margin_from_when_it_has_sent(
    sent: float, back: float
) -> None:
    session = OwnSession(LEASE)
    session.open("session.a", sent)
    session.confirmed(0, 1, sent + back)
    assert session.holds(sent + back) is (sent + back < sent + 9.0)
    assert not session.holds(sent + 9.001)


@given(beats=st.lists(st.tuples(SMALL, st.booleans()), max_size=12))
def test_no_answer_lets_a_node_act_longer_than_what_it_had_sent(
    beats: list[tuple[float, bool]],
) -> None:
    session = OwnSession(LEASE)
    now = last_sent = 0.0
    session.open("session.a", now)
    session.confirmed(0, 1, now)
    for number, (pause, is_answered) in enumerate(beats, 2):
        now += pause / 5
        beat = session.renew(now)
        if is_answered and session.check(now):
            session.confirmed(beat, number, now + pause / 10)
            last_sent = now
        assert session.until <= last_sent + 9.001


def test_a_session_that_was_lost_is_not_confirmed_any_more() -> None:
    session = OwnSession(LEASE)
    session.open("session.a", 0.0)
    session.confirmed(0, 1, 0.0)
    beat = session.renew(3.0)
    assert not session.check(9.5)
    session.confirmed(beat, 2, 9.6)
    assert session.state is State.LOST
    assert not session.holds(9.7)
    session.cleared()
    session.open("session.b", 10.0)
    session.confirmed(0, 3, 10.0)
    assert session.holds(10.0)


def test_a_session_whose_key_came_too_late_does_not_begin() -> None:
    session = OwnSession(LEASE)
    session.open("session.a", 0.0)
    session.confirmed(0, 1, 9.0)
    assert session.state is State.NONE


# -- keys and values


@given(st.text(), st.text())
def test_no_two_names_have_the_same_word(one: str, other: str) -> None:
    assert (word(one) == word(other)) is (one == other)
    assert all(each.isascii() and (each.isalnum() or each in "-_=") for each in word(one))


def test_what_is_written_is_read_again() -> None:
    session = Session("n1", 3, {"counter": 1}, 7)
    record = Record("session.n1.3.1", "n1", "released")
    assert decode_session(encode(session)) == session
    assert decode_record(encode(record)) == record
    assert decode_session(b"{}") is None
    assert decode_record(b'{"session": 1}') is None


# -- what is known


def entry(key: str, value: Session | Record, revision: int) -> Entry:
    return Entry(key, encode(value), revision)


S1, S2 = session_key("n1", 1, 1), session_key("n2", 1, 1)
R0 = owner_key("counter", 0)


def test_a_session_that_was_never_heard_of_is_not_known_to_be_gone() -> None:
    view = View()
    view.apply(entry(R0, Record(S1, "n1"), 5))
    assert view.fate(S1) is Fate.UNKNOWN
    assert view.unknown() == [S1]


def test_what_a_whole_answer_does_not_say_is_gone() -> None:
    view = View()
    view.begin()
    view.apply(entry(R0, Record(S1, "n1"), 5))
    view.apply(entry(S2, Session("n2", 1, {"counter": 1}), 6))
    assert view.fate(S1) is Fate.UNKNOWN
    view.apply(Current())
    assert view.fate(S1) is Fate.GONE
    assert view.nodes("counter") == {"n2": 1}


def test_an_answer_of_one_that_lags_behind_says_nothing_of_what_is_newer() -> None:
    view = View()
    view.learn(entry(S1, Session("n1", 1), 9))
    view.learn(entry(R0, Record(S1, "n1"), 10))
    view.begin()
    view.apply(entry(S2, Session("n2", 1), 3))
    view.apply(Current())
    assert view.fate(S1) is Fate.LIVE
    assert view.record("counter", 0) == Owned(Record(S1, "n1"), 10)


def test_a_session_that_is_gone_stays_so_whatever_comes_later() -> None:
    view = View()
    view.apply(entry(S1, Session("n1", 1), 3))
    view.apply(Deleted(S1, 4))
    view.apply(entry(S1, Session("n1", 1), 5))
    assert view.fate(S1) is Fate.GONE


def test_the_renewal_of_a_session_is_no_news() -> None:
    view = View()
    assert view.apply(entry(S1, Session("n1", 1, {}, 0), 3))
    assert not view.apply(entry(S1, Session("n1", 1, {}, 1), 4))
    assert view.apply(entry(S1, Session("n1", 1, {"counter": 1}, 2), 5))
    assert not view.apply(entry(S1, Session("n1", 1, {"counter": 1}, 3), 6))
    assert view.apply(Deleted(S1, 7))


@given(st.permutations([1, 2, 3, 4, 5]))
def test_of_a_key_the_highest_revision_counts(revisions: list[int]) -> None:
    view = View()
    for revision in revisions:
        view.learn(entry(R0, Record(S1, f"n{revision}"), revision))
    assert view.record("counter", 0) == Owned(Record(S1, "n5"), 5)


# -- who owns what


def test_there_is_a_wish_for_each_standing() -> None:
    assert list(WISHES) == [(stands, ours) for stands in Standing for ours in (True, False)]
    # Nothing is taken from a session that may be there.
    assert {WISHES[Standing.TAKEN, ours] for ours in (True, False)} == {Wish.WAIT}


@given(st.sampled_from(["held", "released"]), st.sampled_from([S1, S2]), st.sampled_from(Fate))
def test_only_what_is_released_or_of_a_session_that_is_gone_is_vacant(
    state: str, session: str, fate: Fate
) -> None:
    owned = Owned(Record(session, "n1", state), 1)  # type: ignore[arg-type]
    stands = standing(owned, fate, S1)
    if state == "released":
        assert stands is Standing.VACANT
    elif session == S1:
        assert stands is Standing.OURS
    else:
        assert stands is (Standing.VACANT if fate is Fate.GONE else Standing.TAKEN)


@given(st.integers(0, 1000), st.lists(st.text(min_size=1), unique=True, min_size=1, max_size=6))
def test_only_the_shards_of_a_node_that_goes_move(shard: int, nodes: list[str]) -> None:
    before = chosen("accounts", shard, nodes)
    assert before in nodes
    assert chosen("accounts", shard, list(reversed(nodes))) == before
    for gone in nodes:
        after = chosen("accounts", shard, [node for node in nodes if node != gone])
        assert after == before or gone == before


def test_shards_are_spread_over_all_nodes() -> None:
    nodes = [chosen("accounts", shard, ["n1", "n2", "n3"]) for shard in range(300)]
    assert all(nodes.count(node) > 60 for node in ("n1", "n2", "n3"))


# -- order


@attrs.frozen(eq=False)
class Item:
    number: int


class Lanes(RuleBasedStateMachine):
    """One sender, and owners that refuse whole attempts from some message on, as `Owner` does."""

    def __init__(self) -> None:
        super().__init__()
        self.lane: Lane[Item] = Lane()
        self.made = 0
        self.fence = 1
        self.taken: list[int] = []
        # In the network, in order: what, by which fence, of which attempt.
        self.sent: list[tuple[Item, int, int]] = []
        self.refused = 0
        self.answers: list[tuple[Item, bool]] = []

    def send(self) -> None:
        route = Route("n1", self.fence)
        for item in self.lane.ready(route):
            assert self.lane.route is not None
            self.sent.append((item, self.lane.route.fence, self.lane.attempt))

    @rule()
    def put(self) -> None:
        self.made += 1
        self.lane.put(Item(self.made))
        self.send()

    @rule()
    def another_owner(self) -> None:
        self.fence += 1
        self.refused = 0
        self.send()

    @precondition(lambda self: self.sent)
    @rule(takes=st.booleans())
    def arrives(self, takes: bool) -> None:
        item, fence, attempt = self.sent.pop(0)
        takes = takes and fence == self.fence and attempt > self.refused
        if takes:
            self.taken.append(item.number)
        elif fence == self.fence:
            self.refused = max(self.refused, attempt)
        self.answers.append((item, takes))

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def answered(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.answers) - 1))
        item, takes = self.answers.pop(place)
        (self.lane.done if takes else self.lane.sent_back)(item)
        self.send()

    @rule()
    def unblock(self) -> None:
        self.lane.unblock()
        self.send()

    @invariant()
    def in_order_and_once(self) -> None:
        assert self.taken == list(range(1, len(self.taken) + 1))

    def teardown(self) -> None:
        """Once nothing is refused any more, all arrive."""
        for _ in range(4 * self.made + 8):
            while self.sent:
                self.arrives_now()
            while self.answers:
                item, takes = self.answers.pop(0)
                (self.lane.done if takes else self.lane.sent_back)(item)
            self.lane.unblock()
            self.send()
        assert self.taken == list(range(1, self.made + 1))

    def arrives_now(self) -> None:
        item, fence, attempt = self.sent.pop(0)
        takes = fence == self.fence and attempt > self.refused
        if takes:
            self.taken.append(item.number)
        self.answers.append((item, takes))


TestLanes = Lanes.TestCase


def test_what_nobody_wants_any_more_holds_nothing_up() -> None:
    lane: Lane[Item] = Lane()
    items = [Item(number) for number in range(3)]
    for item in items:
        lane.put(item)
    assert lane.ready(Route("n1", 1)) == items
    lane.sent_back(items[1])
    lane.remove(items[0])
    lane.remove(items[2])
    lane.unblock()
    assert lane.ready(Route("n1", 1)) == [items[1]]
