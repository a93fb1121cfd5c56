"""One page that shows a failed run of a simulated cluster: its verdict, its faults, its messages.

The diagram is a message sequence chart: a lifeline a node, time going down, an arrow a frame
(ITU-T Z.120; Lamport's space-time diagrams, "Time, Clocks, and the Ordering of Events in a
Distributed System", CACM 21(7), 1978).
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import Final

from transports.testing.diagram_layout import (
    GUTTER,
    Flight,
    Layout,
    Row,
    arrange,
    first_word,
    is_frame,
    is_quiet,
)
from transports.testing.diagram_page import page
from transports.testing.trace import Event

_CHARACTER: Final = 6.1
"""Mean width of one in a label; labels are cut by it, their whole text is one hover away."""
_MONO: Final = 7.0
_HEAD: Final = 8
_LOSS: Final = 0.62
"""How far to the next lifeline a lost frame gets."""


def sequence_diagram(
    events: Sequence[Event],
    nodes: Sequence[str],
    *,
    title: str,
    verdict: str,
    command: str,
    faults: Sequence[str] = (),
) -> str:
    """Draw a run as one HTML page that needs nothing from anywhere else.

    events: in the order of the run, as `Trace.events` has them; if the first are gone, what they
    would have told (who sent a frame, whether a node was up) is told by those that follow, or left
    open. nodes: the lifelines from left to right; those that only events name come after them.
    verdict: its first line is the headline. command: replays the run; the page offers to copy it.
    faults: identities of the faults that fired, in order; without them, those that events name.
    Any text is taken as text: it is escaped, and what cannot be printed is shown as an escape.
    Equal arguments give an equal page.
    """
    layout = arrange(events, nodes)
    headline, _, rest = verdict.strip().partition("\n")
    parts = [f"<h1>{_escape(title)}</h1>", f'<div class="verdict"><p>{_escape(headline)}</p>']
    if rest:
        parts.append("<pre>" + "\n".join(map(_escape, rest.split("\n"))) + "</pre>")
    # A line breaks between the words of a command, not inside an option.
    words = " ".join(f"<span>{_escape(word)}</span>" for word in command.split(" "))
    parts.append(
        f'</div>\n<div class="replay"><code id="command">{words}</code>'
        '<button id="copy" type="button">Copy</button></div>'
    )
    parts.extend(_fault_list(events, faults))
    names = [f'<i style="width:{GUTTER - 12}px">seconds</i>']
    names.extend(
        f'<b style="left:{x}px;max-width:{layout.pitch - 16}px" title="{_escape(name)}">'
        f"{_escape(name)}</b>"
        for name, x in layout.columns.items()
    )
    return page(
        title=_escape(title),
        summary="\n".join(parts),
        names="".join(names),
        diagram=_diagram(layout),
        overview=_overview(layout),
        end=f"<b>{_escape(headline)}</b>{_count(layout)}",
        width=layout.width,
    )


def _fault_list(events: Sequence[Event], faults: Sequence[str]) -> Iterator[str]:
    fired: dict[str, list[Event]] = {}
    for event in events:
        if event.fault:
            fired.setdefault(event.fault, []).append(event)
    listed = list(dict.fromkeys(faults or fired))
    yield f"<h2>Faults that fired <small>{len(listed) or 'none'}</small></h2>"
    if not listed:
        return
    yield '<ol class="faults">'
    for identity in listed:
        known = fired.get(identity, [])
        first = next(
            (event for event in known if event.kind == "fault"), known[0] if known else None
        )
        if first is None:
            yield (
                f'<li><span class="when"></span><span class="mono gone">{_escape(identity)}</span>'
                '<span></span><span class="gone">before the first event shown</span></li>'
            )
            continue
        where = f"{first.node} → {first.peer}" if first.peer else first.node
        yield (
            f'<li><span class="when">{first.time:.3f}</span>'
            f'<a class="mono" href="#e{first.number}">{_escape(identity)}</a>'
            f"<span>{_escape(where)}</span><span>{_escape(_more(first))}</span></li>"
        )
    yield "</ol>"


def _count(layout: Layout) -> str:
    if not layout.rows:
        return "No events."
    first, last = layout.rows[0].event, layout.rows[-1].event
    lost = sum(1 for flight in layout.flights if not flight.arrived)
    missing = f"The first {first.number - 1:,} events are not shown. " if first.number > 1 else ""
    return (
        f"{missing}{len(layout.rows):,} events in {_duration(last.time - first.time)} of virtual "
        f"time; {len(layout.flights):,} frames, {f'{lost:,} never' if lost else 'all'} arrived."
    )


def _overview(layout: Layout) -> str:
    """The faults and crashes as ticks on the window's edge, each a link."""
    return "".join(
        f'<a class="{"fault" if row.event.kind == "fault" else "crashed"}" '
        f'style="top:{100 * row.top / layout.height:.2f}%" href="#e{row.event.number}" '
        f'title="{_escape(row.event.fault or row.event.text)}"></a>'
        for row in layout.rows
        if row.event.kind == "fault"
        or (row.event.kind == "node" and row.event.text.startswith("crashed"))
    )


def _diagram(layout: Layout) -> str:
    svg = [
        f'<svg class="diagram" width="{layout.width}" height="{layout.height}" '
        f'viewBox="0 0 {layout.width} {layout.height}" role="img" '
        'aria-label="Message sequence diagram">'
    ]
    fine = any(abs(row.event.time - round(row.event.time, 3)) > 1e-7 for row in layout.rows)
    before = math.nan
    for row in layout.rows:
        svg.extend(_strip(row, layout, "" if row.event.time == before else _clock(row, fine)))
        before = row.event.time
    for span in layout.spans:
        if span.state != "absent" and span.bottom > span.top:
            x = layout.columns[span.node]
            svg.append(f'<path class="life {span.state}" d="M{x} {span.top}V{span.bottom}"/>')
    struck = {flight.struck.event.number for flight in layout.flights if flight.struck is not None}
    for flight in layout.flights:
        svg.extend(_frame(flight, layout))
    for row in layout.rows:
        kind = row.event.kind
        if kind == "fault":
            svg.extend([] if row.event.number in struck else _fault(row, layout))
        elif kind == "node":
            svg.extend(_node(row, layout))
        elif kind == "actor":
            svg.extend(_actor(row, layout))
        elif not is_frame(row.event):
            x = layout.columns.get(row.event.node, GUTTER)
            text = _clip(row.event.text, layout.width - x - 20)
            svg.append(f'<text class="note halo" x="{x + 10}" y="{row.y + 4}">{text}</text>')
    svg.append("</svg>")
    return "\n".join(svg)


def _strip(row: Row, layout: Layout, clock: str) -> Iterator[str]:
    """What all rows have: a ground that tells the event on hover, the gap before, the time."""
    if row.gap:
        y = row.top - 15
        yield f'<text class="pause" x="{GUTTER - 12}" y="{y + 4}">{_duration(row.gap)} later</text>'
        yield f'<path class="still" d="M{GUTTER} {y}H{layout.width}"/>'
    struck = " struck" if row.event.kind == "fault" else ""
    yield (
        f'<rect class="row{struck}" id="e{row.event.number}" y="{row.top}" width="{layout.width}" '
        f'height="{row.bottom - row.top}">{_whole(row.event)}</rect>'
    )
    if clock:
        yield f'<text class="time" x="{GUTTER - 12}" y="{row.y + 4}">{clock}</text>'


def _frame(flight: Flight, layout: Layout) -> Iterator[str]:
    event = flight.event
    start, end = layout.columns[event.node], layout.columns[event.peer]
    way = -1 if end < start else 1
    quiet = " quiet" if is_quiet(event) else ""
    yield f'<g class="frame{quiet}">{_whole(event)}'
    room = min(abs(end - start) or layout.pitch, 2 * layout.pitch) - 20
    if flight.sent is None:
        row = flight.arrived[0]
        stub = end - way * 64
        yield f'<path class="before" d="M{stub} {row.y}H{end - way * _HEAD}"/>'
        yield _head(stub, row.y, end, row.y)
        yield _label(end - way * (_HEAD + 4), row.y - 5, -way, _clip(event.text, room))
        yield "</g>"
        return
    y = flight.sent.y
    for turn, row in enumerate(flight.arrived):
        if start == end:
            line = f"M{start} {y}h24V{row.y}H{end + _HEAD}"
            head = _head(end + 24, row.y, end, row.y)
        else:
            line = f"M{start} {y}L{end} {row.y}"
            head = _head(start, y, end, row.y)
        yield f'<path class="reach" d="{line}"/><path d="{line}"/>{head}'
        if turn:
            yield _label(end - way * 14, row.y - 6, -way, "again")
    struck = flight.struck if flight.struck is not None and flight.struck.y > y else None
    if not flight.arrived:
        x = _loss(start, end, layout)
        bottom = y + 14 if struck is None else struck.y
        line = f"M{start} {y}L{x} {bottom}"
        yield f'<path class="reach" d="{line}"/><path d="{line}"/>'
        yield f'<path class="cross" d="M{x - 5} {bottom - 5}l10 10m0 -10l-10 10"/>'
        if struck is None:
            why = f"lost: {flight.fault}" if flight.fault else "never arrived"
            kind = "why" if flight.fault else "lost"
            yield _label(x + way * 11, bottom + 4, way, _clip(why, 260), kind)
    text = _clip(event.text, room)
    if flight.arrived and flight.fault and flight.struck is None:
        yield _bolt(start + way * 14, y, 4)
        text += f'<tspan class="why mono" dx="7">{_clip(flight.fault, 200)}</tspan>'
    yield _label(start + way * 8, y - 5, way, text)
    yield "</g>"
    if flight.struck is not None:
        yield from _strike(flight, flight.struck, flight.sent, layout)


def _strike(flight: Flight, struck: Row, sent: Row, layout: Layout) -> Iterator[str]:
    """The fault that met a frame, in its own row: on the arrow, or beside the cross."""
    event = flight.event
    start, end = layout.columns[event.node], layout.columns[event.peer]
    way = -1 if end < start else 1
    x: float = start
    if not flight.arrived and struck.y > sent.y:
        x = _loss(start, end, layout) + way * 18
        if not _fits(struck.event, x, way, layout):
            x, way = start - way * 14, -way
    elif flight.arrived and sent.y < struck.y < flight.arrived[0].y:
        x += (end - start) * (struck.y - sent.y) / (flight.arrived[0].y - sent.y)
    yield from _mark(struck, round(x), way, layout)


def _fault(row: Row, layout: Layout) -> Iterator[str]:
    """A fault of no frame: at its node, or between its nodes."""
    here = layout.columns.get(row.event.node, GUTTER + 10)
    there = layout.columns.get(row.event.peer, here)
    if here != there:
        yield f'<g class="fault"><line x1="{here}" y1="{row.y}" x2="{there}" y2="{row.y}"/></g>'
    yield from _mark(row, (here + there) // 2, 1, layout)


def _mark(row: Row, x: int, way: int, layout: Layout) -> Iterator[str]:
    event = row.event
    if not _fits(event, x, way, layout):
        way = -way if _fits(event, x, -way, layout) else 1
    identity = f'<tspan class="mono">{_clip(event.fault, 260)}</tspan>'
    more = _more(event)
    text = f'<tspan dx="8">{_clip(more, 420)}</tspan>' if more else ""
    yield f'<g class="fault">{_whole(event)}{_bolt(x, row.y, 6)}'
    yield _label(x + way * 12, row.y + 4, way, identity + text, "why")
    yield "</g>"


def _more(event: Event) -> str:
    """What an event says beside the identity of its fault."""
    return "" if event.text == event.fault else event.text


def _fits(event: Event, x: float, way: int, layout: Layout) -> bool:
    length = len(event.fault) * _MONO + len(_more(event)) * _CHARACTER + 24
    return x + length <= layout.width if way > 0 else x - length >= GUTTER


def _loss(start: int, end: int, layout: Layout) -> int:
    """How far a lost frame gets: not to the next lifeline."""
    reach = round(_LOSS * min(abs(end - start) or layout.pitch, layout.pitch))
    return start - reach if end < start else start + reach


def _node(row: Row, layout: Layout) -> Iterator[str]:
    event = row.event
    x = layout.columns.get(event.node, GUTTER + 60)
    word = first_word(event)
    look = word if word in ("crashed", "paused", "parted") else ""
    yield f'<g class="pill {look}">{_whole(event)}'
    there = layout.columns.get(event.peer)
    if there is not None:
        yield f'<line x1="{x}" y1="{row.y}" x2="{there}" y2="{row.y}"/>'
        x = (x + there) // 2
    text = _clip(event.text, layout.pitch - 28)
    # The fault stands in the pill: beside it, lines would run through it.
    by = f'<tspan class="why mono" dx="7">{_clip(event.fault, 200)}</tspan>' if event.fault else ""
    shown = min(len(event.text), int((layout.pitch - 28) / _CHARACTER))
    wide = round(shown * _CHARACTER + (len(event.fault[:32]) * _MONO + 7 if by else 0)) + 18
    yield (
        f'<rect x="{x - wide // 2}" y="{row.y - 10}" width="{wide}" height="20" rx="10"/>'
        f'<text class="middle" x="{x}" y="{row.y + 4}">{text}{by}</text></g>'
    )


def _actor(row: Row, layout: Layout) -> Iterator[str]:
    event = row.event
    x = layout.columns.get(event.node, GUTTER)
    done = " done" if event.text.startswith("end") else ""
    text = _clip(event.text, min(layout.pitch, layout.width - x) - 24)
    yield (
        f'<g class="actor{done}">{_whole(event)}'
        f'<rect class="reach" x="{x}" y="{row.top}" width="20" height="{row.bottom - row.top}"/>'
        f'<circle cx="{x + 8}" cy="{row.y}" r="2.5"/>'
        f'<text x="{x + 16}" y="{row.y + 4}">{text}</text></g>'
    )


def _label(x: float, y: int, way: int, text: str, look: str = "") -> str:
    """`text`, which is escaped, beside x: to its right (1) or its left (-1)."""
    classes = " ".join(filter(None, ("left" if way < 0 else "", look)))
    return f'<text class="{classes}" x="{x}" y="{y}">{text}</text>'


def _head(x1: int, y1: int, x2: int, y2: int) -> str:
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    back, down, half = x2 - dx * _HEAD, y2 - dy * _HEAD, 3.5
    return (
        f'<path class="head" d="M{x2} {y2}L{back - dy * half:.1f} {down + dx * half:.1f}'
        f'L{back + dy * half:.1f} {down - dx * half:.1f}z"/>'
    )


def _bolt(x: float, y: int, half: float) -> str:
    return f'<path class="bolt" d="M{x} {y - half}l{half} {half}l-{half} {half}l-{half} -{half}z"/>'


def _whole(event: Event) -> str:
    """All that is known of an event, for whoever holds the mouse still."""
    where = f"{event.node} → {event.peer}" if event.peer else event.node
    fault = f" · {event.fault}" if event.fault else ""
    text = (
        f"{event.time:.6f} s · {event.kind} · {where} · {event.text}{fault} · event {event.number}"
    )
    return f"<title>{_escape(text)}</title>"


def _clock(row: Row, fine: bool) -> str:
    whole = f"{row.event.time:.6f}"
    return f"{whole[:-3]}<tspan> {whole[-3:]}</tspan>" if fine else whole[:-3]


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        hours, rest = divmod(round(seconds / 60), 60)
        return f"{hours:,} h {rest} min"
    if seconds >= 60:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes:,} min {rest} s"
    return f"{seconds:.1f} s"


def _clip(text: str, room: float) -> str:
    most = max(4, int(room / _CHARACTER))
    return _escape(text if len(text) <= most else text[: most - 1] + "…")


def _escape(text: str) -> str:
    """As HTML: also what would hide or reorder text (controls, lone surrogates, bidi marks)."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return html.escape(shown)
