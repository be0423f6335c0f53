"""Saved states of a run: what it needs to go on exactly. Complete only by the marker, which is written last."""

import hashlib
import io
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from modelyard.contract import layout
from modelyard.model.encoders import Array
from modelyard.model.storage import NotFound, Store
from modelyard.training.curves import encode

__all__ = ["Position", "State", "StateStore", "assign", "capture", "random_states", "restore", "restore_random"]

_FILE = "state.npz"
_CURVES = "curves"
_GROUPS = ("variable", "optimizer", "metric", "kept")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run is, and what it has seen so far."""

    step: int
    """Batches trained on, in all."""
    epoch: int
    """Epochs finished."""
    batch: int = 0
    """Batches finished of the epoch after them."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Metrics of each finished epoch."""
    random: list[Any] = field(default_factory=list)
    """States of Python's and NumPy's global generators."""
    kept: dict[str, Any] = field(default_factory=dict)
    """Plain values: what other callbacks remember, what a loop of one's own keeps."""
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    """How the metrics went: see `Curves`."""
    ended: bool = False
    """Whether training was ended early: nothing is left but to publish."""


@dataclass(frozen=True, slots=True)
class State:
    """A position with the values of every variable there."""

    position: Position
    variables: list[Array] = field(default_factory=list)
    """The model's: weights, running statistics, seeds of its random layers."""
    optimizer: list[Array] = field(default_factory=list)
    metrics: list[Array] = field(default_factory=list)
    """What the metrics of the unfinished epoch have added up."""
    kept: list[Array] = field(default_factory=list)
    """Arrays among the plain values that are kept."""

    @property
    def groups(self) -> dict[str, list[Array]]:
        """Return the arrays by group."""
        return dict(zip(_GROUPS, (self.variables, self.optimizer, self.metrics, self.kept), strict=True))


def random_states() -> list[Any]:
    """Return the states of Python's and NumPy's global generators, as JSON has them."""
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()
    return [[version, list(words), gauss], [kind, np.asarray(keys).tolist(), place, has_gauss, cached]]


def capture(model: Any, position: Position) -> State:
    """Copy the variables of a compiled Keras model."""
    return State(
        position,
        [np.array(variable.numpy()) for variable in model.variables],
        [np.array(variable.numpy()) for variable in model.optimizer.variables],
        [np.array(variable.numpy()) for variable in model.metrics_variables],
    )


def restore(model: Any, state: State) -> None:
    """Put a state into a built Keras model of the same architecture; raise ValueError if it is another."""
    model.optimizer.build(model.trainable_variables)
    assign("model", model.variables, state.variables)
    assign("optimizer", model.optimizer.variables, state.optimizer)
    restore_random(state.position)


def restore_random(position: Position) -> None:
    """Put Python's and NumPy's global generators back to where they were."""
    if position.random:
        (version, words, gauss), numpy = position.random
        random.setstate((version, tuple(words), gauss))
        np.random.set_state(tuple(numpy))


def restore_metrics(model: Any, state: State) -> None:
    """Put back what the metrics of the unfinished epoch had added up; raise ValueError if they are others."""
    assign("metrics", model.metrics_variables, state.metrics)


def assign(what: str, variables: Sequence[Any], values: Sequence[Array]) -> None:
    """Give variables their saved values; raise ValueError if those are of other shapes."""
    here, saved = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
    if here != saved:
        raise ValueError(
            f"the saved state is of another model: the {what} had {len(saved)} variables of other shapes than the "
            f"{len(here)} here; change the run's manifest back, or let it begin anew"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


class StateStore:
    """The saved states of one run."""

    def __init__(self, store: Store, run: str, keep: int) -> None:
        self._store = store
        self._run = run
        self._keep = keep

    def save(self, state: State, attempt: str) -> None:
        """Save a state under a prefix of its own, then its marker, then forget the oldest."""
        buffer = io.BytesIO()
        arrays = {f"{group}{n}": array for group, values in state.groups.items() for n, array in enumerate(values)}
        # too long for the marker, which is read whenever states are looked for
        arrays[_CURVES] = np.frombuffer(json.dumps(state.position.curves).encode(), np.uint8)
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
        step = state.position.step
        prefix = layout.state_prefix(self._run, step, attempt)
        self._store.write(f"{prefix}/{_FILE}", content)
        marker = {
            "prefix": prefix,
            "sha256": hashlib.sha256(content).hexdigest(),
            "position": asdict(replace(state.position, curves={})),
        }
        self._store.create_once(layout.state_marker(self._run, step), json.dumps(marker).encode())
        self._forget_oldest()

    def keep_curves(self, position: Position) -> None:
        """Store how the metrics of the run went, in the place of what was stored before."""
        self._store.write(layout.curves_file(self._run), encode(self._run, position.curves))

    def newest(self) -> State | None:
        """Return the newest complete state whose content is what its marker says; None if there is none."""
        for step in sorted(self._steps(), reverse=True):
            marker = json.loads(self._store.read(layout.state_marker(self._run, step)))
            try:
                content = self._store.read(f"{marker['prefix']}/{_FILE}")
            except NotFound:
                continue
            if hashlib.sha256(content).hexdigest() == marker["sha256"]:
                return _unpack(marker, content)
        return None

    def _steps(self) -> list[int]:
        folder = layout.state_folder(self._run)
        names = [path.removeprefix(f"{folder}/") for path in self._store.list(folder)]
        return [int(name.removesuffix(".json")) for name in names if "/" not in name and name.endswith(".json")]

    def _forget_oldest(self) -> None:
        for step in sorted(self._steps())[: -self._keep]:
            path = layout.state_marker(self._run, step)
            prefix = json.loads(self._store.read(path))["prefix"]
            self._store.delete(path)
            self._store.delete(f"{prefix}/{_FILE}")


def _unpack(marker: dict[str, Any], content: bytes) -> State:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:

        def group(name: str) -> list[Array]:
            return [arrays[f"{name}{n}"] for n in range(sum(key.startswith(name) for key in arrays))]

        curves = json.loads(arrays[_CURVES].tobytes()) if _CURVES in arrays else {}
        return State(Position(**marker["position"] | {"curves": curves}), *(group(name) for name in _GROUPS))
