"""Many ways to communicate, each an address: topics, work queues and services of one system.

Read `patterns` (which subscriptions a topic matches), then `topics`, `services` and `queues`; each
has the ref that `system.at` gives for its scheme. `registry` is what the system offers of them.
"""
