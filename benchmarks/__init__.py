"""Benchmarks: what each operation of the runtime costs, as a ratio to a limit.

Run ``python -m benchmarks``. A limit is the fastest plain Python, or plain trio, that does the
same work without a runtime; it is measured in the same run, in turn with the workload, so that the
ratio holds on a slow or a busy machine too. `README.md` beside this file says how each limit is
defined.
"""
