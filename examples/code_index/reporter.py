"""The actor that shows how far the work is."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as ProgressBar

from actors import Actor
from examples.code_index.messages import Progress, Redraw

SECONDS_BETWEEN_FRAMES = 0.1


class Reporter(Actor):
    """Draws a progress bar, ten times a second; nothing when the console is no terminal."""

    def __init__(self, console: Console) -> None:
        self.latest = Progress(0, 0, complete=False)
        self.bar = ProgressBar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("files, {task.fields[restarts]} restarts"),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,  # the timer below does it, without a thread
            disable=not console.is_terminal,
        )
        self.line = self.bar.add_task("walking", total=None, restarts=0)

    async def started(self) -> None:
        """Show the bar, and redraw it on a timer."""
        self.bar.start()
        self.context.every(SECONDS_BETWEEN_FRAMES, Redraw())

    async def stopped(self) -> None:
        """Draw the last state, and give the terminal back."""
        self.draw()
        self.bar.stop()

    def receive(self, message: Progress | Redraw) -> None:
        """Remember the latest news; draw it when the timer says so."""
        match message:
            case Progress():
                self.latest = message
            case Redraw():
                self.draw()

    def draw(self) -> None:
        """Show the latest news. The total grows until the walk is complete."""
        self.bar.update(
            self.line,
            description="indexing" if self.latest.complete else "walking and indexing",
            completed=self.latest.done,
            total=self.latest.total,
            restarts=self.context.system.ledger.restarts,
            refresh=True,
        )
