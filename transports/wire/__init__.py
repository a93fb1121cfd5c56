"""The wire, without I/O: what bytes a peer may send, and what they mean. docs/wire.md specifies it.

From the bytes up: `framing` (lengths and checksums), `frames` (what a frame holds), `introduction`
(who is there, and the proof), `handshake` (which version, which incarnation), and `session`, with
its states (`session_states`) and its two halves `outbound` and `inbound`: in order, once, within a
window, over any number of connections. `failure_detector` says when silence is suspicious. Nothing
here waits or reads a clock.
"""
