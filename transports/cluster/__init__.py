"""What there is once in a cluster: an actor (`Singleton`), or one for each key (`Sharded`).

Reading order: `store` (what nodes agree by), `session` (how long a node may act), `records`, `view`
and `placement` (who owns what), all pure; then `membership` and `ownership`, which do the I/O,
`lanes` (order), and the actors: `region`, `owner`, `singleton`, `sharded`.
"""
