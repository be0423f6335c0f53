"""Saying what is done and how long each step took: a moving line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["Steps"]


class Steps:
    """The steps of one command. The clock counts seconds; it is a parameter for the tests."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Run one step; the caller may tell details while it goes on."""
        started = self._clock()
        if self._console.is_terminal:
            with self._console.status(title) as status:
                yield lambda detail: status.update(f"{title}: {detail}")
        else:
            yield self._plain(title)
        self._console.print(f"  {title:<46} {self._clock() - started:7.1f} s", highlight=False)

    def _plain(self, title: str) -> Callable[[str], None]:
        last = self._clock()

        def tell(detail: str) -> None:
            nonlocal last
            if self._clock() - last >= 15:
                last = self._clock()
                self._console.print(f"  … {title}: {detail}", highlight=False)

        return tell

    def finish(self, words: str) -> None:
        """Say that the command is done and how long it took altogether."""
        self._console.print(f"{words} in {self._clock() - self._started:.1f} s", highlight=False)
