"""``python -m benchmarks.soak_processes``: processes are killed while numbers are written down.

A cluster of real processes on real sockets: worker processes, which their supervisor starts again,
and nodes of `trouper run` on TCP, which this soak starts again. Clients ask actors there to write
numbers into journals, partly through an actor of another process; each number is sent once. A
journal has the number in a file before the actor replies, and the reply is the acknowledgement.
All the time processes get SIGKILL, SIGTERM, SIGSTOP and SIGCONT, and handlers fail.

In the end all processes have ended, and an audit reads the journals: each acknowledged number is
there, none is there twice, and none that was refused.

Read `journals` (the actors), `cluster` (the processes), `run` (clients and faults), `audit`.
"""
