"""What is done beside every loop, Keras' or the script's own: count, tell, save when it is time, leave when told."""

import math
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from modelyard.contract.training import Checkpointing
from modelyard.contract.wire import CURVES_FILE, ExitCode, Phase
from modelyard.model.storage import StorageError
from modelyard.training.curves import CurveFile, Curves
from modelyard.training.distributing import Group
from modelyard.training.errors import DivergedError
from modelyard.training.pace import Pace
from modelyard.training.progress import QUIET, ProgressFile
from modelyard.training.saving import Saver
from modelyard.training.state import Position, State, StateStore, random_states

__all__ = ["Host", "Keeper", "numbers"]


class Host(Protocol):
    """What a keeper needs of its run."""

    checkpointing: Checkpointing
    name: str
    attempt: str
    progress: ProgressFile
    resumed: State | None
    clock: Callable[[], float]
    keeper: "Keeper | None"
    group: Group | None


class Keeper:
    """Knows where the training is; keeps its state and tells its progress."""

    def __init__(self, host: Host, states: StateStore) -> None:
        self._host: Host = host
        self._group: Group | None = host.group
        host.keeper = self
        self._clock = host.clock
        self._states = states
        self._saver = Saver(lambda state: states.save(state, host.attempt), self._saved)
        start = host.resumed.position if host.resumed else Position(0, 0)
        self.step, self.epoch, self.batch = start.step, start.epoch, start.batch
        self.history = list(start.history)
        """Metrics of each finished epoch, those of earlier attempts included."""
        self.metrics = dict(start.metrics)
        """The latest."""
        self._curves = Curves(start.curves)
        folder = host.progress.folder
        self._curve_file = CurveFile(folder / CURVES_FILE if folder else None, host.name, host.clock)
        self._told_to_stop = False
        self._pace = Pace()
        self._due_step, self._due_at = self.step, self._clock()
        self._quiet_until = 0.0

    def begin(self, **told: Any) -> None:
        """Tell that training begins, and end it in order from now on when told to."""
        signal.signal(signal.SIGTERM, self._stop)
        self.tell(phase=Phase.TRAINING, **told)

    def end(self) -> None:
        """Wait for the state that is being saved, and keep the curves to their end."""
        self._saver.finish()
        self._curve_file.finish(self._curves)
        if self._is_chief:
            self._keep_curves(self.position())
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def count(self, metrics: Mapping[str, float]) -> None:
        """Count a step; raise DivergedError if its loss is no number."""
        self.step += 1
        self.batch += 1
        self.metrics = dict(metrics)
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise DivergedError(
                f"the loss is {metrics['loss']} at step {self.step} (epoch {self.epoch + 1}): look for invalid "
                "values in the data, or lower the learning rate"
            )
        self._curves.add(self.step, metrics)
        if self._clock() >= self._quiet_until:
            self.tell(metrics=_rounded(metrics))
            self._curve_file.tell(self._curves)

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Count an epoch."""
        self.epoch, self.batch = self.epoch + 1, 0
        # the others have their points step by step
        self._curves.add(self.step, {name: value for name, value in metrics.items() if name not in self.metrics})
        self.metrics = dict(metrics)
        self.history.append(dict(metrics))
        self.tell(epoch=self.epoch, metrics=_rounded(metrics))
        self._curve_file.tell(self._curves)

    def position(self) -> Position:
        """Return where the training is."""
        return Position(
            self.step,
            self.epoch,
            self.batch,
            self.metrics,
            list(self.history),
            random_states(),
            curves=self._curves.saved(),
        )

    @property
    def stopping(self) -> bool:
        """Whether the process was told to end; one of several asks the others first: see `decide`."""
        return self._told_to_stop and self._group is None

    def decide(self, *, now: bool = False) -> tuple[bool, bool]:
        """Return whether to stop here and whether to save; of several processes all decide the same."""
        settings = self._host.checkpointing
        by_steps = settings.every_steps is not None and self.step - self._due_step >= settings.every_steps
        by_time = self._clock() - self._due_at >= settings.every_seconds
        save = not self._saver.is_busy and (by_steps or by_time)
        if self._group is None:
            return self._told_to_stop, save
        return self._group.decide(self.step, stop=self._told_to_stop, save=save, now=now)

    def settle(self, state: Callable[[], State]) -> None:
        """Save the state if it is time, and leave if that was asked for; the loop waits only while `state` copies."""
        stop, save = self.decide()
        if save:
            self.save(state())
        if stop:
            self.leave(state())

    def save(self, state: State) -> None:
        """Save a state beside the training.

        The values of some variables are added up over the processes: all of them make the state, the chief keeps it.
        """
        self._due_step, self._due_at = self.step, self._clock()
        if self._is_chief:
            self._saver.begin(state)

    @property
    def _is_chief(self) -> bool:
        return self._group is None or self._group.is_chief

    def leave(self, state: State | None) -> NoReturn:
        """Save a state unless it is saved, and end the process; the next attempt goes on there."""
        self.tell()
        self._saver.finish()
        self._curve_file.finish(self._curves)
        if not self._is_chief:
            sys.exit(ExitCode.INTERRUPTED)
        saved = self._host.progress.progress.saved_step
        if state is not None and (saved is None or state.position.step > saved):
            self._host.progress.tell(phase=Phase.SAVING)
            self._saver.begin(state)
            self._saver.finish()
        sys.exit(ExitCode.INTERRUPTED)

    def tell(self, **changes: Any) -> None:
        """Tell where the training is, how fast it goes and how long it still takes."""
        now = self._clock()
        self._pace.note(now, self.step)
        rate = self._pace.rate
        total = changes.get("total_steps", self._host.progress.progress.total_steps)
        if total:
            changes["percent"] = round(min(100.0, 100.0 * self.step / total), 1)
            changes["eta_seconds"] = round((total - self.step) / rate, 1) if rate and total >= self.step else None
        self._quiet_until = now + QUIET
        self._host.progress.tell(step=self.step, steps_per_second=rate, **changes)

    def _saved(self, state: State) -> None:
        self._host.progress.tell(saved_step=state.position.step)
        self._keep_curves(state.position)

    def _keep_curves(self, position: Position) -> None:
        try:
            self._states.keep_curves(position)
        except StorageError as error:
            # nothing rests on them
            print(f"the curves of step {position.step} are not kept: {error}", file=sys.stderr, flush=True)

    def _stop(self, *_: Any) -> None:
        """Leave after the step under way; only there the variables belong together."""
        self._told_to_stop = True


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return metrics as Python's numbers."""
    return {name: float(value) for name, value in metrics.items()}


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in metrics.items()}
