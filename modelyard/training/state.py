"""Saved states of a run: weights, optimizer, position. Complete only by the marker, which is written last."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelyard.contract import layout
from modelyard.model.encoders import Array
from modelyard.model.storage import NotFound, Store

__all__ = ["State", "StateStore", "capture", "restore"]

_FILE = "state.npz"


@dataclass(frozen=True, slots=True)
class State:
    """What a run needs to go on: the position after a whole epoch, and every variable of model and optimizer."""

    step: int
    epoch: int
    """Epochs finished."""
    metrics: dict[str, float]
    weights: list[Array] = field(default_factory=list)
    optimizer: list[Array] = field(default_factory=list)


def capture(model: Any, step: int, epoch: int, metrics: dict[str, float]) -> State:
    """Copy the state of a Keras model."""
    optimizer = [np.array(variable) for variable in model.optimizer.variables]
    return State(step, epoch, metrics, [np.array(weight) for weight in model.get_weights()], optimizer)


def restore(model: Any, state: State) -> None:
    """Put a state into a Keras model of the same architecture; raise ValueError if it is another."""
    model.set_weights(state.weights)
    model.optimizer.build(model.trainable_variables)
    variables = model.optimizer.variables
    if len(variables) != len(state.optimizer):
        raise ValueError(f"the optimizer has {len(variables)} variables, the saved state {len(state.optimizer)}")
    for variable, value in zip(variables, state.optimizer, strict=True):
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
        arrays = {f"weight{n}": array for n, array in enumerate(state.weights)}
        arrays |= {f"optimizer{n}": array for n, array in enumerate(state.optimizer)}
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        content = buffer.getvalue()
        prefix = layout.state_prefix(self._run, state.step, attempt)
        self._store.write(f"{prefix}/{_FILE}", content)
        marker = {
            "prefix": prefix,
            "sha256": hashlib.sha256(content).hexdigest(),
            "step": state.step,
            "epoch": state.epoch,
            "metrics": state.metrics,
        }
        self._store.create_once(layout.state_marker(self._run, state.step), json.dumps(marker).encode())
        self._forget_oldest()

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
        weights = [arrays[f"weight{n}"] for n in range(sum(name.startswith("weight") for name in arrays))]
        count = sum(name.startswith("optimizer") for name in arrays)
        optimizer = [arrays[f"optimizer{n}"] for n in range(count)]
    return State(marker["step"], marker["epoch"], marker["metrics"], weights, optimizer)
