"""Worker processes: a supervisor whose children are processes of the operating system.

Read `worker_processes`, then `worker_process` (one of them, as an actor), `process` (as a process),
`reports` (what it says to its parent), and `host` (the seam to what connects it).
"""

from supervision.processes.host import HostsWorkers, Invitation, WorkerHost
from supervision.processes.worker_process import ProcessInfo, WhichProcess, WorkerProcess
from supervision.processes.worker_processes import WorkerProcesses

__all__ = [
    "HostsWorkers",
    "Invitation",
    "ProcessInfo",
    "WhichProcess",
    "WorkerHost",
    "WorkerProcess",
    "WorkerProcesses",
]
