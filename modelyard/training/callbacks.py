"""The Keras callback: progress after every step, state after epochs, and back to the last state when resuming."""

import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import keras

from modelyard.contract.training import Checkpointing
from modelyard.contract.wire import ExitCode, Phase
from modelyard.training.progress import ProgressFile
from modelyard.training.state import State, StateStore, capture, restore

__all__ = ["RunCallback"]


class Host(Protocol):
    """What the callback needs of its run."""

    checkpointing: Checkpointing
    attempt: str
    progress: ProgressFile
    resumed: State | None


class RunCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells progress and saves state for a run."""

    def __init__(self, host: Host, states: StateStore, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._host = host
        self._states = states
        self._clock = clock
        self._step = host.resumed.step if host.resumed else 0
        self._saved_step = self._step
        self._saved_at = clock()
        self._started_at = clock()
        self._started_step = self._step
        self._epoch = 0
        self._last: State | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Go back to the saved state, if there is one, and end in order when told to."""
        resumed = self._host.resumed
        if resumed is not None:
            restore(self.model, resumed)
            self._last = resumed
        signal.signal(signal.SIGTERM, self._end)
        steps, epochs = self._steps_per_epoch(), self.params.get("epochs")
        total = steps * epochs if steps and epochs else None
        self._tell(phase=Phase.TRAINING, total_steps=total, epochs=epochs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember where training is."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count a step."""
        self._step += 1
        self._tell(metrics=_numbers(logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the state if it is time."""
        self._epoch = epoch + 1
        metrics = _numbers(logs)
        self._tell(epoch=self._epoch, metrics=metrics)
        self._last = capture(self.model, self._step, self._epoch, metrics)
        if self._is_due():
            self._save(self._last)

    def _is_due(self) -> bool:
        settings = self._host.checkpointing
        by_steps = settings.every_steps is not None and self._step - self._saved_step >= settings.every_steps
        return by_steps or self._clock() - self._saved_at >= settings.every_seconds

    def _save(self, state: State) -> None:
        self._host.progress.tell(phase=Phase.SAVING)
        self._states.save(state, self._host.attempt)
        self._saved_step, self._saved_at = state.step, self._clock()
        self._host.progress.tell(phase=Phase.TRAINING, saved_step=state.step)

    def _end(self, *_: Any) -> None:
        """Save the state of the last whole epoch and leave; the next attempt goes on there."""
        if self._last is not None and self._last.step > self._saved_step:
            self._save(self._last)
        sys.exit(ExitCode.INTERRUPTED)

    def _steps_per_epoch(self) -> int | None:
        steps = self.params.get("steps")
        return int(steps) if steps else None

    def _tell(self, **changes: Any) -> None:
        progress = self._host.progress.progress
        total = changes.get("total_steps", progress.total_steps)
        elapsed = self._clock() - self._started_at
        done = self._step - self._started_step
        rate = done / elapsed if done and elapsed > 0 else None
        if total:
            changes["percent"] = round(min(100.0, 100.0 * self._step / total), 1)
            changes["eta_seconds"] = round((total - self._step) / rate, 1) if rate and total >= self._step else None
        self._host.progress.tell(step=self._step, steps_per_second=rate, **changes)


def _numbers(logs: dict[str, Any] | None) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in (logs or {}).items()}
