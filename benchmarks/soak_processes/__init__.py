"""``python -m benchmarks.soak_processes``: processes are killed while numbers are written down.

A cluster of real processes on real sockets: worker processes, which their supervisor starts again,
and nodes of `trouper run` on TCP, which this soak starts again. Clients ask actors there to write
numbers into journals, partly through an actor of another process; each number is sent once. A
journal has the number in a file before the actor replies, and the reply is the acknowledgement.
All the time processes get SIGKILL, SIGTERM, SIGSTOP and SIGCONT, and handlers fail.

In the end all processes have ended, and an audit reads the journals: each acknowledged number is
there, none is there twice, and none that was refused.

With ``--engine nats`` they meet on a real server of NATS, or a cluster of such, which are killed,
started again, stopped and continued at the same time.

Read `journals` (the actors), `cluster` (the processes), `engine` (the servers), `run` (clients and
faults), `audit`.
"""
