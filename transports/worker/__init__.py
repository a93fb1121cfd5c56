"""Worker processes as nodes: where they join (`host`), and what runs in them (`__main__`).

`settings` is what a process is told when it starts, `orphan` what it does when its parent is gone.
"""
