"""A system that others reach: `node`, within its `limits`, and a `link` to each peer.

A message goes from `remote_ref` through `outgoing` and the link's session, to `incoming` on the
other side. `allowance` is how many may be on the way to each receiver, and who waits for room;
`asks` and `watches` are what waits for an answer, or for the end of an actor there; `answers` and
`watched` are their counterparts on the side of `incoming`. Each connection of a link begins with
`handshaking`. `directory` is what peers tell each other of names, topics, queues and services;
`cycles` finds asks that wait on themselves. `spawner` asks for actors on other nodes, `spawnable`
makes them here.
"""
