"""The Keras callback: progress after every step, state saved beside the training, and back to it when resuming."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import keras

from modelyard.contract.wire import ExitCode
from modelyard.model.encoders import Array
from modelyard.training import keeping
from modelyard.training.batches import Resumable
from modelyard.training.improving import Publisher
from modelyard.training.keeping import Keeper, numbers
from modelyard.training.remembering import memory_of, pack, remind, unpack
from modelyard.training.state import State, StateStore, capture, restore, restore_metrics

__all__ = ["RunCallback"]

#: Ends the epoch and not the training; whoever ends the training says True.
_EPOCH = "epoch"


class Host(keeping.Host, Protocol):
    """What the callback needs of its run."""

    current: Resumable | None


class RunCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells progress and saves state for a run.

    Within an epoch a state is saved only if the run's own batches are trained on; else after whole epochs, since
    nobody knows where the data is.
    """

    def __init__(
        self,
        host: Host,
        states: StateStore,
        others: Sequence[keras.callbacks.Callback] = (),
        publisher: Publisher | None = None,
    ) -> None:
        """`others` come before this one in `fit`; what they remember is part of the state."""
        super().__init__()
        self._host = host
        self._others = others
        self._publisher = publisher
        self._keeper = Keeper(host, states)
        self._batches: Resumable | None = None
        self._last: State | None = None

    @property
    def history(self) -> list[dict[str, float]]:
        """Metrics of each finished epoch, those of earlier attempts included."""
        return self._keeper.history

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Go back to the saved state, if there is one, and end in order when told to."""
        resumed = self._host.resumed
        current = self._host.current
        # with `class_weight` or a distribution Keras wraps the batches: their beginning cannot be told then
        self._batches = current if current is not None and self.params.get("steps") == current.steps else None
        group = self._host.group
        if group is not None and not group.agrees(self._keeper.step):
            # a state was completed between two looks: all look again
            sys.exit(ExitCode.INTERRUPTED)
        if resumed is not None:
            if resumed.position.batch and self._batches is not None:
                # one look at a batch makes the variables of the metrics
                batch = next(iter(self._batches.dataset))
                self.model.test_on_batch(*(group.local(batch) if group else batch))
            restore(self.model, resumed)
            remind(self._others, unpack(resumed.position.kept, resumed.kept))
        steps, epochs = self._steps_per_epoch(), self.params.get("epochs")
        self._keeper.begin(total_steps=steps * epochs if steps and epochs else None, epochs=epochs)
        if self._publisher is not None and resumed is not None and resumed.position.batch == 0:
            # the last attempt may have ended while it published this
            self._publisher.improved(self.model, resumed.position.metrics)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Let the data begin where training is, and the metrics with what they had."""
        resumed, batches = self._host.resumed, self._batches
        is_continued = resumed is not None and resumed.position.epoch == epoch and resumed.position.batch > 0
        first = resumed.position.batch if is_continued and resumed else 0
        self._keeper.epoch, self._keeper.batch = epoch, first
        if batches is not None:
            batches.begin_epoch(epoch, first)
        if is_continued and resumed:
            restore_metrics(self.model, resumed)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count a step; save the state if it is time, and leave if that was asked for."""
        keeper, batches = self._keeper, self._batches
        keeper.count(numbers(logs or {}))
        # the last batch of an epoch is saved with the epoch
        if batches is not None and keeper.batch == batches.steps != batch + 1:
            # the epoch began at a later batch: Keras would ask for more, which moves seeds and counts on
            self.model.stop_training = self.model.stop_training or _EPOCH
        elif batches is not None and keeper.batch < batches.steps:
            keeper.settle(self._capture)
        elif batches is None and keeper.decide()[0]:
            keeper.leave(self._last)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the state if it is time, leave if that was asked for, and publish what has improved."""
        if self.model.stop_training is _EPOCH:
            self.model.stop_training = False
        keeper = self._keeper
        keeper.end_epoch(numbers(logs or {}))
        if self._batches is None:
            # steps of the next epoch are in vain if it is not finished: a copy of this moment is kept
            self._last = self._capture()
        stop, save = keeper.decide(now=True)
        if save:
            keeper.save(self._latest())
        if stop:
            keeper.leave(self._latest())
        if self._publisher is not None:
            # publishing takes its time, in which this process may die
            self._publisher.improved(self.model, keeper.metrics, before=lambda: keeper.save(self._latest()))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Wait for the state that is being saved."""
        self._keeper.end()

    def _capture(self) -> State:
        kept: list[Array] = []
        memory = pack(memory_of(self._others), kept)
        position = replace(self._keeper.position(), kept=memory, ended=bool(self.model.stop_training))
        return replace(capture(self.model, position), kept=kept)

    def _latest(self) -> State:
        return self._last or self._capture()

    def _steps_per_epoch(self) -> int | None:
        if self._batches is not None:
            return self._batches.steps
        steps = self.params.get("steps")
        return int(steps) if steps else None
