"""The Keras callback: progress after every step, state saved beside the training, and back to it when resuming."""

import math
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import keras

from modelyard.contract.training import Checkpointing
from modelyard.contract.wire import ExitCode, Phase
from modelyard.training.batches import Resumable
from modelyard.training.distributing import Group
from modelyard.training.errors import DivergedError
from modelyard.training.progress import QUIET, ProgressFile
from modelyard.training.saving import Saver
from modelyard.training.state import Position, State, StateStore, capture, random_states, restore, restore_metrics

__all__ = ["RunCallback"]

#: Ends the epoch and not the training; whoever ends the training says True.
_EPOCH = "epoch"


class Host(Protocol):
    """What the callback needs of its run."""

    checkpointing: Checkpointing
    attempt: str
    progress: ProgressFile
    resumed: State | None
    current: Resumable | None
    group: Group | None


class RunCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells progress and saves state for a run.

    Within an epoch a state is saved only if the run's own batches are trained on; else after whole epochs, since
    nobody knows where the data is.
    """

    def __init__(self, host: Host, states: StateStore, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._host: Host = host
        self._group: Group | None = host.group
        self._clock = clock
        self._saver = Saver(lambda state: states.save(state, host.attempt), self._saved)
        start = host.resumed.position if host.resumed else Position(0, 0)
        self._step, self._epoch, self._batch = start.step, start.epoch, start.batch
        self.history = list(start.history)
        """Metrics of each finished epoch, those of earlier attempts included."""
        self._due_step, self._due_at = self._step, clock()
        self._started_at, self._started_step = clock(), self._step
        self._quiet_until = 0.0
        self._stopping = False
        self._batches: Resumable | None = None
        self._last: State | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Go back to the saved state, if there is one, and end in order when told to."""
        resumed = self._host.resumed
        current = self._host.current
        # with `class_weight` or a distribution Keras wraps the batches: their beginning cannot be told then
        self._batches = current if current is not None and self.params.get("steps") == current.steps else None
        if self._group is not None and not self._group.agrees(int(self._step)):
            # a state was completed between two looks: all look again
            sys.exit(ExitCode.INTERRUPTED)
        if resumed is not None:
            if resumed.position.batch and self._batches is not None:
                # one look at a batch makes the variables of the metrics
                batch = next(iter(self._batches.dataset))
                self.model.test_on_batch(*(self._group.local(batch) if self._group else batch))
            restore(self.model, resumed)
        signal.signal(signal.SIGTERM, self._stop)
        steps, epochs = self._steps_per_epoch(), self.params.get("epochs")
        total = steps * epochs if steps and epochs else None
        self._tell(phase=Phase.TRAINING, total_steps=total, epochs=epochs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Let the data begin where training is, and the metrics with what they had."""
        resumed, batches = self._host.resumed, self._batches
        is_continued = resumed is not None and resumed.position.epoch == epoch and resumed.position.batch > 0
        self._epoch, self._batch = epoch, resumed.position.batch if is_continued and resumed else 0
        if batches is not None:
            batches.begin_epoch(epoch, self._batch)
        if is_continued and resumed:
            restore_metrics(self.model, resumed)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count a step; save the state if it is time, and leave if that was asked for."""
        self._step += 1
        self._batch += 1
        metrics = _numbers(logs)
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise DivergedError(
                f"the loss is {metrics['loss']} at step {self._step} (epoch {self._epoch + 1}): look for invalid "
                "values in the data, or lower the learning rate"
            )
        if self._clock() >= self._quiet_until:
            self._tell(metrics=_rounded(metrics))
        # the last batch of an epoch is saved with the epoch
        if self._batches is not None and self._batch == self._batches.steps != batch + 1:
            # the epoch began at a later batch: Keras would ask for more, which moves seeds and counts on
            self.model.stop_training = self.model.stop_training or _EPOCH
        elif self._batches is not None and self._batch < self._batches.steps:
            stop, save = self._decide()
            if save:
                self._save(metrics)
            if stop:
                self._leave(capture(self.model, self._position(metrics)))
        elif self._batches is None and self._decide()[0]:
            self._leave(self._last)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the state if it is time, and leave if that was asked for."""
        if self.model.stop_training is _EPOCH:
            self.model.stop_training = False
        self._epoch, self._batch = epoch + 1, 0
        metrics = _numbers(logs)
        self.history.append(metrics)
        self._tell(epoch=self._epoch, metrics=_rounded(metrics))
        if self._batches is None:
            # steps of the next epoch are in vain if it is not finished: a copy of this moment is kept
            self._last = capture(self.model, self._position(metrics))
        stop, save = self._decide(now=True)
        if save:
            self._save(metrics)
        if stop:
            self._leave(self._last or capture(self.model, self._position(metrics)))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Wait for the state that is being saved."""
        self._saver.finish()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _position(self, metrics: dict[str, float]) -> Position:
        return Position(self._step, self._epoch, self._batch, metrics, list(self.history), random_states())

    def _decide(self, *, now: bool = False) -> tuple[bool, bool]:
        """Return whether to stop here and whether to save; of several processes all decide the same."""
        if self._group is None:
            return self._stopping, self._is_due()
        return self._group.decide(self._step, stop=self._stopping, save=self._is_due(), now=now)

    def _is_due(self) -> bool:
        settings = self._host.checkpointing
        by_steps = settings.every_steps is not None and self._step - self._due_step >= settings.every_steps
        return not self._saver.is_busy and (by_steps or self._clock() - self._due_at >= settings.every_seconds)

    def _save(self, metrics: dict[str, float]) -> None:
        self._due_step, self._due_at = self._step, self._clock()
        # the values of some variables are added up over the processes: all take part, and the chief keeps them
        state = self._last or capture(self.model, self._position(metrics))
        if self._is_chief:
            self._saver.begin(state)

    def _saved(self, state: State) -> None:
        self._host.progress.tell(saved_step=state.position.step)

    def _stop(self, *_: Any) -> None:
        """Leave after the step under way; only there the variables belong together."""
        self._stopping = True

    def _leave(self, state: State | None) -> None:
        """Save a state unless it is saved, and end; the next attempt goes on there."""
        self._tell()
        self._saver.finish()
        if not self._is_chief:
            sys.exit(ExitCode.INTERRUPTED)
        saved = self._host.progress.progress.saved_step
        if state is not None and (saved is None or state.position.step > saved):
            self._host.progress.tell(phase=Phase.SAVING)
            self._saver.begin(state)
            self._saver.finish()
        sys.exit(ExitCode.INTERRUPTED)

    @property
    def _is_chief(self) -> bool:
        return self._group is None or self._group.is_chief

    def _steps_per_epoch(self) -> int | None:
        if self._batches is not None:
            return self._batches.steps
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
        self._quiet_until = self._clock() + QUIET
        self._host.progress.tell(step=self._step, steps_per_second=rate, **changes)


def _numbers(logs: dict[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items()}


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in metrics.items()}
