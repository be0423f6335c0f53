"""The progress file: what a training tells while it runs. The process beside it serves the file as `/progress`."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelyard.contract.wire import Phase, Progress

__all__ = ["QUIET", "ProgressFile"]

#: Seconds between two writes that tell nothing but numbers.
QUIET = 0.5


class ProgressFile:
    """Holds the progress of one attempt and writes it, whole, whenever it changed enough."""

    def __init__(self, path: Path | None, run: str, attempt: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.progress = Progress(run=run, attempt=attempt, phase=Phase.STARTING)
        self._path = path
        self._clock = clock
        self._written = float("-inf")
        self.listener: Callable[[Progress], None] | None = None
        """Is shown what is written."""
        # states are saved, and told, in a thread of their own
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path | None:
        """Where the file lies, for what is served beside it; None on a laptop."""
        return self._path.parent if self._path else None

    def tell(self, **changes: Any) -> None:
        """Change fields of the progress; a new phase or message, or what is saved or published, is written at once."""
        with self._lock:
            self._change(changes)

    def _change(self, changes: dict[str, Any]) -> None:
        before = self.progress
        self.progress = before.model_copy(update=changes)
        important = any(
            getattr(before, name) != getattr(self.progress, name)
            for name in ("phase", "saved_step", "published", "resumed_step", "epoch", "message")
        )
        if important or self._clock() - self._written >= QUIET:
            self._write()

    def _write(self) -> None:
        self._written = self._clock()
        if self.listener is not None:
            self.listener(self.progress)
        if self._path is None:
            return
        temporary = self._path.with_suffix(f".{os.getpid()}")
        temporary.write_text(self.progress.model_dump_json(by_alias=True, exclude_none=True))
        temporary.replace(self._path)
