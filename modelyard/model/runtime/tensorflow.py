"""TensorFlow: a SavedModel, for models that LiteRT cannot hold. It costs more of everything."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from modelyard.model.encoders import Array
from modelyard.model.runtime import SIGNATURE, RuntimeProblem
from modelyard.model.runtime.checking import check_saved_model

__all__ = ["TensorFlow", "limit_threads"]

#: Instances of one call, until somebody measured what is best: as many as this many bytes of input hold, at most 256.
_BATCH_BYTES = 1 << 22
_LARGEST_BATCH = 256


def limit_threads(threads: int) -> None:
    """Let TensorFlow use so many threads in this process; it must not have computed anything yet.

    By itself it takes one for each core of the machine, of which a container may have been given few.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


class TensorFlow:
    """The signature `serving_default` of a SavedModel. TensorFlow itself may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        try:
            # it holds the variables
            self._model = tf.saved_model.load(str(folder))
        except Exception as error:
            # a damaged file ends in any exception
            raise RuntimeProblem(f"TensorFlow cannot open the model: {_first_line(error)}") from error
        if SIGNATURE not in self._model.signatures:
            raise RuntimeProblem(f"there is no signature {SIGNATURE}; there are {sorted(self._model.signatures)}")
        self._function = self._model.signatures[SIGNATURE]
        self._constant = tf.constant
        specs = self._function.structured_input_signature[1]
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {
            name: (spec.dtype.name, tuple(spec.shape.as_list()[1:])) for name, spec in specs.items()
        }
        self.outputs = tuple(self._function.structured_outputs)
        size = sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in self.inputs.values())
        self.largest_batch = min(_LARGEST_BATCH, 1 << (max(1, _BATCH_BYTES // max(size, 1)).bit_length() - 1))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open a folder that nobody vouches for; raise RuntimeProblem."""
        check_saved_model(folder)
        return cls(folder)

    def fork(self) -> Self:
        """Return the same model: it has no buffers."""
        return copy.copy(self)

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute one batch."""
        batch = len(next(iter(inputs.values())))
        if batch <= self.largest_batch:
            return self._call(inputs)
        parts = [
            self._call({name: values[start : start + self.largest_batch] for name, values in inputs.items()})
            for start in range(0, batch, self.largest_batch)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def rows(self, order: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Array]]:
        """Return a function of one instance's values, in this order of inputs."""
        staged = [
            (name, np.dtype(dtype), (1, *shape), order.index(name)) for name, (dtype, shape) in self.inputs.items()
        ]

        def predict(values: Sequence[Any]) -> dict[str, Array]:
            # TensorFlow may keep the array, so each call has its own
            return self._call(
                {name: np.asarray(values[place], dtype).reshape(shape) for name, dtype, shape, place in staged}
            )

        return predict

    def _call(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        results = self._function(**{name: self._constant(inputs[name]) for name in self.inputs})
        return {name: value.numpy() for name, value in results.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
