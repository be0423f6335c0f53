"""What executes a model: one file a runtime, the same small interface."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from modelyard.model.encoders import Array

__all__ = ["SIGNATURE", "Runtime", "RuntimeProblem"]

#: The signature that takes batches of any size, inputs and outputs by name.
SIGNATURE = "serving_default"


class RuntimeProblem(ValueError):
    """A model file cannot be executed; the message says why."""


class Runtime(Protocol):
    """An opened model. It is not safe to call from two threads at once: each thread takes a `fork`."""

    inputs: dict[str, tuple[str, tuple[int, ...]]]
    """Input name to dtype and shape of one instance."""
    outputs: tuple[str, ...]
    largest_batch: int
    """Instances that are executed at once, a power of two; larger batches are cut."""

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute one batch: arrays of shape (batch, ...) by input name; the same by output name."""

    def rows(self, order: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Array]]:
        """Return a function of one instance's values, in this order of inputs: the fast way of single requests."""

    def fork(self) -> Self:
        """Return the same model with buffers of its own."""
