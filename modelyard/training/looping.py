"""Loops of a script's own: the same counting, telling, saving and going on as the Keras callback gives to `fit`."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from modelyard.training.errors import ConfigurationError
from modelyard.training.keeping import Keeper, numbers
from modelyard.training.state import State, StateStore

if TYPE_CHECKING:
    from modelyard.training.batches import Resumable
    from modelyard.training.keeping import Host
    from modelyard.training.tracking import Tracked

__all__ = ["Loop", "Looping"]


class Loop:
    """One training loop of a script.

    A state is saved between steps only: after `step`, and at the end of an epoch after `end_epoch`.
    """

    def __init__(self, host: "Host", states: StateStore) -> None:
        self._host = host
        self._keeper = Keeper(host, states)
        self._tracked: Tracked | None = None
        self.epoch_ended = False
        """Whether the step just counted was the last of its epoch."""
        self._total: int | None = None
        self._keeper.begin()

    def track(self, things: Mapping[str, Any]) -> None:
        """Keep these things in every state, and put them back to the state to go on from."""
        from modelyard.training.tracking import Tracked

        if self._tracked is not None:
            raise ConfigurationError("run.track is called once, with everything that a state is made of")
        self._tracked = Tracked(things)
        if self._host.resumed is not None:
            self._tracked.restore(self._host.resumed)

    def steps(self, data: Any, batches: "Resumable | None", *, epochs: int | None, total: int | None) -> Iterator[Any]:
        """Yield (step, batch), the step counted from 1 over all epochs and attempts, from where training is."""
        keeper = self._keeper
        length = batches.steps if batches is not None else _length(data)
        self.plan(total if total is not None else length * epochs if length and epochs else None, epochs)
        try:
            while not self.should_stop and (epochs is None or keeper.epoch < epochs):
                yield from self._epoch(data, batches, length)
            self.leave_if_told()
        finally:
            keeper.end()

    def _epoch(self, data: Any, batches: "Resumable | None", length: int | None) -> Iterator[Any]:
        keeper, epoch = self._keeper, self._keeper.epoch
        following = _with_last(self._pass(data, batches), length, keeper.batch)
        for batch, self.epoch_ended in following:
            before = keeper.step
            yield before + 1, batch
            if keeper.step != before + 1:
                raise ConfigurationError("run.step(...) is called once for each batch of run.steps(...)")
            if self.epoch_ended:
                self.end_epoch({})
            if self.should_stop or keeper.epoch != epoch:
                return
        raise ConfigurationError("run.steps(...) was given data without a batch, or that can be read only once")

    def plan(self, total: int | None, epochs: int | None = None) -> None:
        """Take note of how many steps there will be."""
        self._total = total
        self._keeper.tell(total_steps=total, epochs=epochs)

    def step(self, metrics: Mapping[str, Any]) -> None:
        """Count a step; save the state if it is time, and leave if that was asked for."""
        self._keeper.count(numbers(metrics))
        # what follows the last step of an epoch, a validation say, belongs to it
        if not self.epoch_ended:
            self._settle()

    def end_epoch(self, metrics: Mapping[str, Any]) -> None:
        """Count an epoch with its metrics; save the state if it is time, and leave if that was asked for."""
        self.epoch_ended = False
        self._keeper.end_epoch(self._keeper.metrics | numbers(metrics))
        self._settle()

    def leave_if_told(self) -> None:
        """Save the state and end the process if it was told to end; an epoch whose end is not told of is waited for."""
        if self._keeper.stopping and not self.epoch_ended:
            self._keeper.leave(self._capture() if self._tracked is not None else None)

    @property
    def history(self) -> list[dict[str, float]]:
        """Metrics of each finished epoch, those of earlier attempts included."""
        return self._keeper.history

    @property
    def steps_done(self) -> int:
        """Steps done, those of earlier attempts included."""
        return self._keeper.step

    @property
    def should_stop(self) -> bool:
        """Whether every step is done, or the process was told to end."""
        return self._keeper.stopping or (self._total is not None and self._keeper.step >= self._total)

    def _pass(self, data: Any, batches: "Resumable | None") -> Iterable[Any]:
        """Return what is left of an epoch's data."""
        first = self._keeper.batch
        if batches is not None:
            batches.begin_epoch(self._keeper.epoch, first)
            first, data = 0, batches.dataset
        if first == 0:
            return cast(Iterable[Any], data)
        skipped: Iterable[Any] = data.skip(first) if hasattr(data, "skip") else islice(iter(data), first, None)
        return skipped

    def _settle(self) -> None:
        if self._tracked is not None:
            self._keeper.settle(self._capture)
        self.leave_if_told()

    def _capture(self) -> State:
        assert self._tracked is not None
        return self._tracked.capture(self._keeper.position())


class Looping:
    """The calls of a run for a loop of its script's own."""

    current: "Resumable | None"
    _states: StateStore
    _loop: Loop | None = None

    def track(self, **things: Any) -> None:
        """Say what a state is made of, and go back to the saved one if there is one; raise ConfigurationError.

        Each is a model, optimizer, module, metric, random generator or variable, a list or mapping of them, or a dict
        of plain values that the loop keeps up to date. Call it once, before the first step, when every variable is
        there; an optimizer's are made here if need be.
        """
        self._begun.track(things)

    def steps(self, data: Any, *, epochs: int | None = None, total: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield (step, batch) from where an earlier attempt was, until there were so many epochs or steps in all.

        `data` is what `run.batches` returns, or anything that gives the same batches each time it is iterated over:
        then what was trained on is skipped. Steps count from 1. Call `run.step` once for each.
        """
        batches = self.current if self.current is not None and data is self.current.dataset else None
        return self._begun.steps(data, batches, epochs=epochs, total=total)

    def step(self, **metrics: Any) -> None:
        """Tell that a step is done, with its metrics; the state is saved when it is time.

        When the process was told to end, the state is saved and SystemExit raised: the next attempt goes on. Raises
        DivergedError if `loss` is not a number.
        """
        self._begun.step(metrics)

    def end_epoch(self, **metrics: Any) -> None:
        """Tell that an epoch is done, with metrics to add to its last step's; `run.steps` counts one not told of."""
        self._begun.end_epoch(metrics)

    def plan(self, total: int) -> None:
        """Say how many steps there will be, where `run.steps` is not used: for progress, and for `should_stop`."""
        self._begun.plan(total)

    @property
    def should_stop(self) -> bool:
        """Whether every step is done, or the process was told to end: then the next `step` or `publish` does so."""
        return self._begun.should_stop

    @property
    def epoch_ended(self) -> bool:
        """Whether the step just told of was the last of an epoch of `run.steps`."""
        return self._begun.epoch_ended

    @property
    def steps_done(self) -> int:
        """Steps done, those of earlier attempts included."""
        return self._begun.steps_done

    @property
    def history(self) -> list[dict[str, float]]:
        """Metrics of each epoch told of by `end_epoch`, those of earlier attempts included."""
        return self._begun.history

    @property
    def _begun(self) -> Loop:
        if self._loop is None:
            self._loop = Loop(cast("Host", self), self._states)
        return self._loop


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        # a generator, or a dataset whose length nobody knows
        return None


def _with_last(batches: Iterable[Any], length: int | None, first: int) -> Iterator[tuple[Any, bool]]:
    """Yield each batch and whether it is the last; only where the length is unknown the next one is looked at."""
    if length is not None:
        for place, batch in enumerate(batches, first + 1):
            yield batch, place >= length
        return
    following = iter(batches)
    try:
        batch = next(following)
    except StopIteration:
        return
    for other in following:
        yield batch, False
        batch = other
    yield batch, True
