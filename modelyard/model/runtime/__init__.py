"""What executes a model: one file a runtime, the same small interface."""

from collections.abc import Mapping
from typing import Protocol

from modelyard.model.encoders import Array

__all__ = ["Runtime", "RuntimeProblem"]


class RuntimeProblem(ValueError):
    """A model file cannot be executed; the message says why."""


class Runtime(Protocol):
    """An opened model. It is not safe to call from two threads at once."""

    inputs: dict[str, tuple[str, tuple[int, ...]]]
    """Input name to dtype and shape of one instance."""
    outputs: tuple[str, ...]

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute one batch: arrays of shape (batch, ...) by input name; the same by output name."""
