"""The page of a failed run: read back as a browser would, then held against the events."""

from __future__ import annotations

import random
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import attrs
import pytest

from transports.testing.diagram import sequence_diagram
from transports.testing.diagram_layout import arrange
from transports.testing.trace import Event, Kind, Trace

NODES = ("a", "b", "c")
VOID = {"meta", "input"}


@attrs.define
class Element:
    """One of the page: its attributes, and the text of it and of all within."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


class Reader(HTMLParser):
    """Takes a page apart, and refuses one whose tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def by_class(self, name: str) -> list[Element]:
        return [each for each in self.elements if name in each.attributes.get("class", "").split()]

    def by_id(self, name: str) -> Element:
        (found,) = (each for each in self.elements if each.attributes.get("id") == name)
        return found


def draw(trace: Trace, **changes: object) -> str:
    told = {"title": "a run", "verdict": "It failed", "command": "replay 7", **changes}
    return sequence_diagram(list(trace.events), NODES, **told)  # type: ignore[arg-type]


def svg(page: str) -> ElementTree.Element:
    (source,) = re.findall(r'<svg class="diagram" [^>]*role="img".*?</svg>', page, re.DOTALL)
    return ElementTree.fromstring(source)


def of(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if name in each.get("class", "").split()]


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()) for each in root.iter("text")]


def started() -> Trace:
    trace = Trace()
    for node in NODES:
        trace.add(0.0, "node", node, text="started")
    return trace


def random_run(seed: int, count: int) -> Trace:
    """Frames of which some are lost, some doubled, some overtaken by others."""
    chance, trace, flying = random.Random(seed), started(), []
    kinds: tuple[Kind, ...] = (
        "sent",
        "sent",
        "sent",
        "arrived",
        "arrived",
        "actor",
        "fault",
        "note",
    )
    for number in range(1, count + 1):
        kind, time = chance.choice(kinds), number / 100
        node, peer = chance.sample(NODES, 2)
        if kind == "sent":
            trace.add(time, "sent", node, peer, f"put {number}", number)
            flying.extend([(node, peer, number)] * chance.choice([0, 1, 1, 1, 2]))
        elif kind == "arrived" and flying:
            node, peer, frame = flying.pop(chance.randrange(len(flying)))
            trace.add(time, "arrived", node, peer, f"put {frame}", frame)
        elif kind != "arrived":
            trace.add(
                time, kind, node, text=f"{kind} {number}", fault="f" if kind == "fault" else ""
            )
    return trace


@pytest.mark.parametrize("seed", range(5))
def test_each_frame_has_an_arrowhead_for_each_arrival_and_a_cross_if_there_is_none(
    seed: int,
) -> None:
    trace = random_run(seed, 200)
    arrivals = Counter(event.frame for event in trace.events if event.kind == "arrived")
    sent = [event for event in trace.events if event.kind == "sent"]
    frames = of(svg(draw(trace)), "frame")
    assert len(frames) == len(sent) > 0
    assert {0, 1, 2} <= {arrivals[event.frame] for event in sent}
    for event, frame in zip(sent, frames, strict=True):
        assert event.text in texts(frame)
        assert len(of(frame, "head")) == arrivals[event.frame]
        assert len(of(frame, "cross")) == (0 if arrivals[event.frame] else 1)


def test_an_arrow_runs_from_where_it_was_sent_to_where_it_arrived() -> None:
    trace = started()
    trace.add(0.1, "sent", "a", "c", "put", 1)
    trace.add(0.2, "actor", "b", text="begin")
    trace.add(0.3, "arrived", "a", "c", "put", 1)
    layout = arrange(list(trace.events), NODES)
    sent, arrived = layout.rows[3], layout.rows[5]
    assert sent.y < arrived.y
    (frame,) = of(svg(draw(trace)), "frame")
    line = f"M{layout.columns['a']} {sent.y}L{layout.columns['c']} {arrived.y}"
    assert line in [path.get("d") for path in frame.iter("path")]
    (head,) = of(frame, "head")
    assert head.get("d", "").startswith(f"M{layout.columns['c']} {arrived.y}L")


def test_a_lost_frame_says_which_fault_it_met() -> None:
    trace = started()
    trace.add(0.1, "sent", "a", "b", "put", 1, "loss-1")
    trace.add(0.2, "sent", "b", "c", "get", 2)
    trace.add(0.2, "fault", "b", "c", "drops it", 2, "loss-2")
    trace.add(0.3, "sent", "c", "a", "end", 3)
    root = svg(draw(trace))
    by_itself, by_row, unknown = of(root, "frame")
    assert "lost: loss-1" in texts(by_itself)
    assert "never arrived" in texts(unknown)
    (fault,) = of(root, "fault")
    assert "loss-2drops it" in texts(fault)
    # Its row is the one where the cross is.
    (cross,) = of(by_row, "cross")
    row = arrange(list(trace.events), NODES).rows[5]
    assert row.event.fault == "loss-2"
    assert int(cross.get("d", "").split("l")[0].split()[1]) + 5 == row.y


def test_a_frame_that_a_fault_has_only_held_up_says_so_too() -> None:
    trace = started()
    trace.add(0.1, "sent", "a", "b", "put", 1)
    trace.add(0.9, "arrived", "a", "b", "put", 1, "slow-1")
    (frame,) = of(svg(draw(trace)), "frame")
    assert "putslow-1" in texts(frame)
    assert len(of(frame, "bolt")) == 1
    assert of(frame, "cross") == []


def test_a_fault_told_before_the_frame_that_it_drops_is_named_in_both_places() -> None:
    trace = started()
    trace.add(0.1, "fault", "a", "b", "drops the next", 1, "loss-1")
    trace.add(0.1, "sent", "a", "b", "put", 1)
    trace.add(0.2, "sent", "a", "b", "put", 2)
    root = svg(draw(trace))
    assert "lost: loss-1" in texts(of(root, "frame")[0])
    assert "loss-1drops the next" in texts(of(root, "fault")[0])
    rows = arrange(list(trace.events), NODES).rows
    assert rows[4].bottom - rows[4].y >= 20  # room for the cross and its text


def test_a_fault_whose_text_is_its_identity_is_named_once() -> None:
    trace = started()
    trace.add(0.1, "fault", "a", "b", "drop a->b DATA #1", 0, "drop a->b DATA #1")
    page = draw(trace)
    named = [text for mark in of(svg(page), "fault") for text in texts(mark)]
    assert named == ["drop a->b DATA #1"]
    listed = page.partition('<ol class="faults">')[2].partition("</ol>")[0]
    assert listed.count("drop a-&gt;b DATA #1") == 1


def test_a_frame_sent_before_the_first_event_kept_is_a_stub() -> None:
    trace = Trace(keep=2)
    trace.add(0.1, "sent", "a", "b", "put", 1)
    trace.add(0.2, "arrived", "a", "b", "put", 1)
    trace.add(0.3, "actor", "b", text="begin put")
    page = draw(trace)
    (frame,) = of(svg(page), "frame")
    assert len(of(frame, "before")) == len(of(frame, "head")) == 1
    assert "The first 1 events are not shown." in page


def test_a_fault_is_linked_to_its_place_and_one_without_a_place_says_so() -> None:
    trace = started()
    trace.add(0.5, "sent", "a", "b", "put", 1, "cut-1")
    trace.add(0.5, "fault", "a", "b", "cuts the link", 0, "cut-1")
    trace.add(0.6, "node", "c", text="crashed", fault="crash-2")
    reader = Reader(draw(trace, faults=["old-0", "cut-1", "crash-2"]))
    links = {
        each.text: each.attributes["href"] for each in reader.by_class("mono") if each.tag == "a"
    }
    assert links == {"cut-1": "#e5", "crash-2": "#e6"}
    for target in links.values():
        assert reader.by_id(target[1:]).tag == "rect"
    gone, _where = reader.by_class("gone")
    assert gone.text == "old-0"


def test_faults_that_are_not_given_are_those_that_events_name() -> None:
    trace = started()
    trace.add(0.5, "fault", "a", text="power lost", fault="crash-1")
    given = draw(trace, faults=["crash-1"])
    assert draw(trace) == given
    assert draw(started()).count("<h2>Faults that fired <small>none</small></h2>") == 1


def test_a_lifeline_shows_when_its_node_was_down_or_paused() -> None:
    trace = started()
    changes = [("a", "crashed"), ("b", "paused"), ("a", "started"), ("b", "resumed"), ("c", "left")]
    for at, (node, text) in enumerate(changes, 1):
        trace.add(float(at), "node", node, text=f"{text}: at {at}")
    layout = arrange(list(trace.events), NODES)
    states = {node: [span.state for span in layout.spans if span.node == node] for node in NODES}
    assert states == {
        "a": ["absent", "up", "crashed", "up"],
        "b": ["absent", "up", "paused", "up"],
        "c": ["absent", "up", "absent"],
    }
    for node in NODES:
        spans = [span for span in layout.spans if span.node == node]
        assert spans[0].top == 0
        assert spans[-1].bottom == layout.height
        assert all(one.bottom == two.top for one, two in pairwise(spans))
    drawn = Counter(each.get("class") for each in of(svg(draw(trace)), "life"))
    assert drawn == {"life up": 5, "life crashed": 1, "life paused": 1}


def test_what_a_node_was_before_the_first_event_kept_is_told_by_its_first_change() -> None:
    events = [
        Event(100, 1.0, "node", "a", text="started again"),
        Event(101, 1.1, "node", "b", text="resumed"),
        Event(102, 1.2, "node", "c", text="crashed"),
    ]
    first: dict[str, str] = {}
    for span in arrange(events, NODES).spans:
        first.setdefault(span.node, span.state)
    assert first == {"a": "crashed", "b": "paused", "c": "up"}


def test_long_silences_are_told_and_short_ones_are_not() -> None:
    trace = started()
    for time in (0.4, 3.6, 130.0, 7630.0):
        trace.add(time, "note", "", text="tick")
    gaps = [each for each in texts(svg(draw(trace))) if each.endswith(" later")]
    assert gaps == ["3.2 s later", "2 min 6 s later", "2 h 5 min later"]


def test_frames_without_a_message_are_greyed_and_messages_of_like_names_are_not() -> None:
    trace = started()
    said = ["ack 17", "PING", "pong, 3", "heartbeat", "Ping(n=1)", "acknowledge", "data 1 Ack"]
    for frame, text in enumerate(said, 1):
        trace.add(0.1, "sent", "a", "b", text, frame)
    frames = of(svg(draw(trace)), "frame")
    quiet = ["quiet" in frame.get("class", "").split() for frame in frames]
    assert quiet == [True] * 4 + [False] * 3


HOSTILE = (
    "</title></style></svg><script>alert(1)</script><img src=//x.example/i onerror=alert(1)>"
    "\"' onload='x' &lt; \0\x1b\u202e\ud800 ]]> <!-- \N{GREEK SMALL LETTER ALPHA}"
)


def test_no_text_of_a_run_becomes_markup() -> None:
    trace = Trace()
    kinds: tuple[Kind, ...] = ("sent", "arrived", "fault", "node", "actor", "note")
    for kind in kinds:
        trace.add(0.0, kind, HOSTILE, HOSTILE + "2", HOSTILE, 1, HOSTILE)
    trace.add(0.0, "sent", "a", "b", HOSTILE, 2, HOSTILE)
    for text in (HOSTILE, f"{HOSTILE}\n{HOSTILE}"):
        page = draw(trace, title=text, verdict=text, command=text, faults=[text])
        page.encode()
        reader = Reader(page)
        assert [each.tag for each in reader.elements].count("script") == 1
        assert not [each for each in reader.elements if each.tag in ("img", "iframe", "link")]
        assert not [
            name for each in reader.elements for name in each.attributes if name.startswith("on")
        ]
        # XML is stricter about what may stand in it at all.
        assert "\\u202e" in "".join(svg(page).itertext())
        assert not re.search("[\0\x1b\u202e\ud800]", page)


def test_the_command_is_copied_as_it_was_given() -> None:
    command = "pytest 'tests/a.py::test_b[x  y]' --seed=7 && echo \"<&>\""
    assert Reader(draw(started(), command=command)).by_id("command").text == command


def test_the_headline_is_the_first_line_of_the_verdict() -> None:
    reader = Reader(draw(started(), verdict="Money is lost\n  9 < 10\nat 3 s"))
    (verdict,) = reader.by_class("verdict")
    assert verdict.text.splitlines() == ["Money is lost", "  9 < 10", "at 3 s"]
    (end,) = reader.by_class("end")
    assert end.text.startswith("Money is lost")


def test_the_page_needs_nothing_from_outside() -> None:
    page = draw(random_run(1, 100))
    reader = Reader(page)
    for each in reader.elements:
        assert not {"src", "srcset", "action", "data", "xlink:href"} & set(each.attributes)
        assert each.attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?:|fetch\(|import\(", page)
    (policy,) = (
        each.attributes["content"]
        for each in reader.elements
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")


def test_every_name_of_a_place_is_unique() -> None:
    reader = Reader(draw(random_run(2, 300)))
    names = Counter(each.attributes["id"] for each in reader.elements if "id" in each.attributes)
    assert names.most_common(1)[0][1] == 1


def test_equal_events_give_equal_bytes() -> None:
    one, two = (draw(random_run(3, 300)).encode() for _ in range(2))
    assert one == two
    assert one != draw(random_run(4, 300)).encode()


def test_nodes_that_only_events_name_get_a_lifeline_after_the_others() -> None:
    events = [Event(1, 0.0, "sent", "z", "a", "put", 1), Event(2, 0.1, "note", "", text="end")]
    assert list(arrange(events, ["a", "b"]).columns) == ["a", "b", "z"]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [
            Event(1, 0.0, "sent", "a", "a", "to itself", 1),
            Event(2, 0.1, "arrived", "a", "a", "", 1),
        ],
        [Event(1, 0.0, "sent", "a", "", "to nobody", 1)],
        [Event(1, 0.0, "arrived", "", "", "", 0)],
        [Event(1, 0.0, "node", "", text="")],
        [Event(1, 0.0, "fault", "", text="all links are slow", fault="slow")],
        [Event(1, 0.0, "actor", "", text="")],
    ],
)
def test_a_page_is_made_of_any_events(events: list[Event]) -> None:
    page = sequence_diagram(events, [], title="", verdict="", command="")
    Reader(page)
    shown = "".join(svg(page).itertext())
    assert all(event.text in shown for event in events)


def test_rows_never_overlap_and_go_down_in_the_order_of_events() -> None:
    trace = random_run(5, 400)
    rows = arrange(list(trace.events), NODES).rows
    assert [row.event for row in rows] == list(trace.events)
    assert all(row.top < row.y < row.bottom for row in rows)
    # The three starts at one moment stand side by side.
    assert rows[0].y == rows[1].y == rows[2].y
    assert all(one.bottom <= two.top for one, two in pairwise(rows[2:]))
