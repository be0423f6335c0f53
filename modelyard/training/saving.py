"""Saving beside the training: the step loop hands over a copy and goes on."""

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from modelyard.model.storage import StorageError
from modelyard.training.state import State

__all__ = ["Saver"]


class Saver:
    """Saves states one after the other in a thread."""

    def __init__(self, save: Callable[[State], None], saved: Callable[[State], None]) -> None:
        self._save, self._saved = save, saved
        """`saved` is called in the thread, after a state is complete."""
        self._threads = ThreadPoolExecutor(1, "state")
        self._pending: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a state is being saved: the next one waits until it is due again."""
        return self._pending is not None and not self._pending.done()

    def begin(self, state: State) -> None:
        """Save a state meanwhile. A store that fails is told; the training goes on and the next save tries again."""
        self.finish()
        self._pending = self._threads.submit(self._attempt, state)

    def finish(self) -> None:
        """Wait for the state that is being saved."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _attempt(self, state: State) -> None:
        try:
            self._save(state)
        except StorageError as error:
            print(f"the state of step {state.position.step} is not saved: {error}", file=sys.stderr, flush=True)
        else:
            self._saved(state)
