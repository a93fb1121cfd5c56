"""The page around a diagram: its styles, its script, its legend. Nothing comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --raised: #ffffff; --ink: #20242a; --muted: #66707b; --hair: #e4e6e9;
  --hover: #f0f2f4; --life: #a9b2bc; --frame: #2c5a88; --quiet: #b9c0c7; --quiet-text: #79838d;
  --lost: #b3261e; --fault: #7438a6; --fault-tint: #f4eef9; --aim: #e6d8f2; --actor: #1f7a69;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --raised: #1d2126; --ink: #dde1e6; --muted: #929ca6; --hair: #2a2f36;
    --hover: #1e2329; --life: #566069; --frame: #86b4e2; --quiet: #535d67; --quiet-text: #85909a;
    --lost: #f27d72; --fault: #c49af0; --fault-tint: #221c2b; --aim: #382a49; --actor: #64c4ae;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 38vh; }
body {
  margin: 0; padding: 2.25rem 2rem 4rem; background: var(--paper); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { margin: 0 auto; }
.summary { max-width: min(100%, calc(100vw - 5rem)); }
code, pre, .mono {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
h1 { margin: 0 0 .9rem; font-size: 13px; font-weight: 500; color: var(--muted); }
h2 { margin: 1.75rem 0 .4rem; font-size: 13px; font-weight: 600; }
h2 small { font-size: inherit; font-weight: 400; color: var(--muted); }
.verdict { border-left: 3px solid var(--lost); padding: .05rem 0 .05rem .9rem; }
.verdict p { margin: 0; font-size: 19px; line-height: 1.35; font-weight: 600; }
.verdict pre { margin: .4rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
.replay {
  display: flex; align-items: flex-start; gap: .75rem; margin: 1.1rem 0 0;
  padding: .5rem .5rem .5rem .9rem; background: var(--raised); border: 1px solid var(--hair);
  border-radius: 6px;
}
.replay code {
  flex: 1; min-width: 0; padding: .2rem 0; font-size: 13px; white-space: pre-wrap; user-select: all;
}
.replay span { display: inline-block; max-width: 100%; overflow-wrap: anywhere; }
button {
  flex: none; min-width: 4.5rem; padding: .25rem .7rem; font: inherit; font-size: 13px;
  color: var(--ink); background: var(--paper); border: 1px solid var(--life); border-radius: 4px;
  cursor: pointer;
}
button:hover { border-color: var(--ink); }
.faults {
  display: grid; grid-template-columns: repeat(3, max-content) 1fr; column-gap: 1.25rem;
  max-height: 16.2rem; overflow: auto; margin: 0; padding: .35rem 0; list-style: none;
  border: solid var(--hair); border-width: 1px 0; font-size: 13px;
}
.faults li {
  display: grid; grid-template-columns: subgrid; grid-column: 1 / -1; padding: .08rem 0;
}
.faults .when { text-align: right; color: var(--muted); }
.faults a { color: var(--fault); text-underline-offset: 3px; text-decoration-thickness: 1px; }
.faults .gone { color: var(--muted); }
.tools {
  display: flex; flex-wrap: wrap; align-items: center; gap: .35rem 1.4rem; margin: 1.75rem 0 .5rem;
  font-size: 12.5px; color: var(--muted);
}
.tools span, .tools label { display: inline-flex; align-items: center; gap: .45rem; }
.tools label { color: var(--ink); cursor: pointer; }
.tools input { margin: 0; accent-color: var(--actor); }
.tools svg { overflow: visible; }
.names {
  position: sticky; top: 0; z-index: 1; height: 2.5rem; background: var(--paper);
  border-bottom: 1px solid var(--hair); margin: 0 -2rem; padding: 0 2rem;
}
.names div { position: relative; height: 100%; }
.names b, .names i {
  position: absolute; bottom: .5rem; line-height: 1.2; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; text-align: center; font-weight: 600; transform: translateX(-50%);
}
.names i {
  left: 0; transform: none; text-align: right; font-style: normal; font-weight: 400;
  font-size: 12px; color: var(--muted);
}
.end {
  margin: .75rem 0 0; border-left: 3px solid var(--lost); padding-left: .9rem;
  color: var(--muted); font-size: 13px;
}
.end b { display: block; color: var(--ink); font-weight: 600; }
.map { position: fixed; right: 0; top: 0; bottom: 0; width: 12px; }
.map a {
  position: absolute; right: 0; width: 9px; height: 2px; background: var(--fault); opacity: .75;
}
.map a.crashed { background: var(--lost); width: 5px; }
.map a:hover { width: 12px; height: 4px; opacity: 1; }

.diagram { display: block; font-size: 11.5px; fill: var(--ink); }
.diagram text { pointer-events: none; }
.row { fill: transparent; }
.row:hover { fill: var(--hover); }
.row.struck { fill: var(--fault-tint); }
.row:target { fill: var(--aim); }
.time { fill: var(--muted); text-anchor: end; font-size: 10.5px; }
.time tspan { opacity: .6; }
.pause { fill: var(--muted); text-anchor: end; font-size: 11px; font-style: italic; }
.still { stroke: var(--life); stroke-dasharray: 1 4; }
.life { fill: none; pointer-events: none; }
.life.up { stroke: var(--life); stroke-width: 1.5; }
.life.paused { stroke: var(--muted); stroke-width: 1.5; stroke-dasharray: 7 5; }
.life.crashed { stroke: var(--lost); stroke-width: 2; stroke-dasharray: 2 5; }
.frame path { stroke: var(--frame); stroke-width: 1.25; fill: none; }
.frame .head { fill: var(--frame); stroke: none; }
.frame .reach { stroke: transparent; stroke-width: 9; }
.frame .before { stroke-dasharray: 2 3; }
.frame:hover path { stroke-width: 2.25; }
.frame:hover .reach { stroke-width: 9; }
.frame:hover text { font-weight: 600; }
.frame .cross { stroke: var(--lost); stroke-width: 2; }
.quiet path { stroke: var(--quiet); stroke-width: 1; }
.quiet .head { fill: var(--quiet); }
.quiet text { fill: var(--quiet-text); font-size: 10px; }
.halo, .frame text, .actor text {
  paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round;
}
.fault text { paint-order: stroke; stroke: var(--fault-tint); stroke-width: 9px; }
.left { text-anchor: end; }
.middle { text-anchor: middle; }
text.why, text .why { fill: var(--fault); }
.quiet text.lost, text.lost { fill: var(--lost); font-size: 11.5px; }
.diagram .bolt { fill: var(--fault); stroke: none; }
.fault line { stroke: var(--fault); stroke-dasharray: 4 3; }
.pill rect { fill: var(--raised); stroke: var(--life); }
.pill.crashed rect, .pill.parted rect { stroke: var(--lost); }
.pill.crashed text, .pill.parted text { fill: var(--lost); }
.pill.paused rect { stroke: var(--muted); stroke-dasharray: 4 3; }
.pill text.middle .why { fill: var(--fault); }
.pill line { stroke: var(--life); }
.pill.parted line { stroke: var(--lost); stroke-dasharray: 6 4; }
.actor circle { fill: var(--actor); stroke: var(--actor); stroke-width: 1.5; }
.actor.done circle { fill: var(--paper); }
.actor .reach { fill: transparent; stroke: none; }
.actor text { display: none; fill: var(--actor); font-size: 11px; }
.actor:hover text, body:has(#texts:checked) .actor text { display: inline; }
.note { fill: var(--muted); font-style: italic; }
"""

SCRIPT: Final = """
document.getElementById("copy").addEventListener("click", async (click) => {
  const code = document.getElementById("command"), selection = getSelection();
  selection.selectAllChildren(code);
  try { await navigator.clipboard.writeText(code.textContent); }
  catch { document.execCommand("copy"); }
  click.target.textContent = "Copied";
  setTimeout(() => { click.target.textContent = "Copy"; }, 1500);
});
"""

# No text of a run can load or start anything, even if its escaping failed.
_HASH: Final = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_HASH}'"

LEGEND: Final = """
<div class="tools">
<label><input type="checkbox" id="texts"> Texts of actor events</label>
<span><svg class="diagram frame" width="34" height="10"><path d="M0 5H27"/>\
<path class="head" d="M34 5l-8 -3.5v7z"/></svg>message</span>
<span><svg class="diagram frame quiet" width="34" height="10"><path d="M0 5H27"/>\
<path class="head" d="M34 5l-8 -3.5v7z"/></svg>heartbeat, acknowledgement</span>
<span><svg class="diagram frame" width="30" height="10"><path d="M0 5H25"/>\
<path class="cross" d="M21 1l8 8m0 -8l-8 8"/></svg>never arrived</span>
<span><svg class="diagram" width="12" height="12"><path class="bolt" d="M6 0l6 6l-6 6l-6 -6z"/>\
</svg>fault</span>
<span><svg class="diagram" width="26" height="10"><path class="life paused" d="M0 5H26"/></svg>\
paused</span>
<span><svg class="diagram" width="26" height="10"><path class="life crashed" d="M0 5H26"/></svg>\
crashed</span>
<span><svg class="diagram actor" width="8" height="10"><circle cx="4" cy="5" r="3"/></svg>\
handler begins</span>
<span><svg class="diagram actor done" width="8" height="10"><circle cx="4" cy="5" r="3"/></svg>\
ends</span>
</div>
"""


def page(
    *, title: str, summary: str, names: str, diagram: str, overview: str, end: str, width: int
) -> str:
    """Put the parts together. All but the texts of this module is HTML that is escaped already."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main style="width:{width}px">
<div class="summary">
{summary}
{LEGEND.strip()}
</div>
<div class="names"><div>{names}</div></div>
{diagram}
<p class="end">{end}</p>
</main>
<nav class="map" aria-label="Where faults and crashes are in the diagram">{overview}</nav>
<script>{SCRIPT}</script>
</body>
</html>
"""
