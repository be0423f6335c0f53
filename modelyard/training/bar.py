"""A progress bar on a terminal, drawn from what the run tells of itself."""

import atexit
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelyard.contract.wire import Phase, Progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["bar"]

_ENDED = frozenset({Phase.DONE, Phase.FAILED})


def bar(console: "Console | None" = None) -> Callable[[Progress], None] | None:
    """Return what draws a run's progress, on standard output if no console is given; None if rich is missing."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Drawn
    except ModuleNotFoundError:
        return None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    drawn = Drawn(*columns, console=console or Console(), transient=True)
    task = drawn.add_task("Starting", total=None, words="")
    epochs = 0

    def show(told: Progress) -> None:
        nonlocal epochs
        if told.phase in _ENDED:
            drawn.stop()
            return
        if told.epoch is not None and told.epoch > epochs:
            epochs = told.epoch
            drawn.console.print(f"epoch {told.epoch}/{told.epochs or '?'}  {_metrics(told)}", highlight=False)
        words = told.message or (_metrics(told) if told.phase == Phase.TRAINING else "")
        drawn.update(task, description=told.phase.value, completed=told.step, total=told.total_steps, words=words)
        if not drawn.live.is_started:
            drawn.start()

    atexit.register(drawn.stop)
    return show


def _metrics(told: Progress) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in told.metrics.items())
