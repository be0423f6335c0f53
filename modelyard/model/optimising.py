"""From a model to what serves: a portable SavedModel and a frozen LiteRT model, inputs and outputs by name."""

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract.package import MODEL_LITERT, SAVED_MODEL, Precision, Variant
from modelyard.model.encoders import Array
from modelyard.model.features import InputSpec
from modelyard.model.runtime import SIGNATURE
from modelyard.model.runtime.litert import SIGNATURE_ONE
from modelyard.model.sources import PublishError, Source

__all__ = ["ORIGINAL", "ORIGINAL_SAVED", "export_model"]

#: The variant that the others are measured against.
ORIGINAL = "float32"
#: The same as TensorFlow saves it.
ORIGINAL_SAVED = "saved-model"
#: How many held-out rows tell the ranges of activations.
_CALIBRATION_ROWS = 128
_LONGEST_REASON = 300
#: How the converter names the operations that LiteRT lacks.
_LACKING = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def export_model(
    source: Source,
    inputs: dict[str, InputSpec],
    folder: Path,
    precisions: Sequence[Precision] = (),
    examples: Mapping[str, Array] | None = None,
) -> list[Variant]:
    """Write `saved_model/`, `model.tflite` and its smaller forms of a model; return the variants they are.

    `examples` are encoded rows, `(rows, *shape)`, whose activations tell the ranges of 8 bits. A form that LiteRT
    cannot make is returned too, not to be served and with the reason. Raises PublishError if TensorFlow cannot either.

    The signature takes every encoder input by name, `(batch, *shape)`, and returns the model's named outputs. In the
    LiteRT model variables are constants and everything that only training needs is cut away.
    """
    saved = _save(source, inputs, folder / SAVED_MODEL)
    try:
        frozen = _Frozen(source.predict, inputs)
        content = frozen.convert()
    except Exception as error:
        # whatever TensorFlow raises here, the SavedModel is whole
        reason = _why_not(error)
        names = (ORIGINAL, *precisions)
        return [*(_absent(name, reason) for name in names), saved]
    (folder / MODEL_LITERT).write_bytes(content)
    return [
        Variant(name=ORIGINAL, runtime="litert", path=MODEL_LITERT, size=len(content)),
        saved,
        *(_write_smaller(frozen, precision, examples or {}, folder) for precision in precisions),
    ]


def _save(source: Source, inputs: dict[str, InputSpec], folder: Path) -> Variant:
    """Write the SavedModel with what its signature needs: not the optimizer, not what only training calls."""
    import tensorflow as tf

    serve = tf.function(source.predict).get_concrete_function(**_specs(inputs, None))
    resources = [tensor for tensor in serve.captured_inputs if tensor.dtype == tf.resource]
    variables = list(serve.graph.variables)
    module = tf.Module()
    if len(resources) == len(variables):
        module.kept = variables
    else:
        # tables and variables of inner functions are only known to the model itself
        module.model = source.holder
    try:
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: serve})
    except (AssertionError, ValueError, TypeError) as error:
        raise PublishError(f"TensorFlow cannot save the model: {_first_line(error)}") from error
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Variant(name=ORIGINAL_SAVED, runtime="tensorflow", path=SAVED_MODEL, size=size)


def _absent(name: str, reason: str) -> Variant:
    path = MODEL_LITERT if name == ORIGINAL else f"model-{name}.tflite"
    return Variant(name=name, runtime="litert", path=path, size=0, serve=False, reason=f"LiteRT cannot {reason}")


def _why_not(error: Exception) -> str:
    """Return the end of `LiteRT cannot ...`: the converter's own list of operations, or its first line."""
    found = _LACKING.findall(str(error))
    if found:
        return f"execute the operations {', '.join(dict.fromkeys(found))}"[:_LONGEST_REASON]
    return f"hold it: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST_REASON]


def _write_smaller(frozen: "_Frozen", precision: Precision, examples: Mapping[str, Array], folder: Path) -> Variant:
    path = f"model-{precision}.tflite"
    try:
        content = frozen.convert(precision, examples)
    except Exception as error:
        # whatever TensorFlow raises here, the original is whole
        return _absent(precision, f"make it: {_first_line(error)}")
    (folder / path).write_bytes(content)
    return Variant(name=precision, runtime="litert", path=path, size=len(content))


class _Frozen:
    """A function without variables, to be converted with the names of its inputs and outputs.

    The model has two signatures over the same weights: one for batches of any size, and one for a single instance,
    whose shapes are all known, so that it runs faster and its buffers never move.
    """

    def __init__(self, predict: Callable[..., Any], inputs: dict[str, InputSpec]) -> None:
        self._inputs = inputs
        self._signatures = {SIGNATURE: _freeze(predict, inputs, None), SIGNATURE_ONE: _freeze(predict, inputs, 1)}

    def convert(self, precision: Precision | None = None, examples: Mapping[str, Array] | None = None) -> bytes:
        """Return the LiteRT model, its inputs and outputs float32 and int32 whatever it computes with."""
        import tensorflow as tf

        with tempfile.TemporaryDirectory(prefix="modelyard-frozen-") as folder:
            tf.saved_model.save(tf.Module(), folder, signatures=self._signatures)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(self._signatures))
            if precision is not None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if precision is Precision.FLOAT16:
                converter.target_spec.supported_types = [tf.float16]
            if precision is Precision.INT8:
                converter.representative_dataset = lambda: self._calibration(examples or {})
            with warnings.catch_warnings():
                # asked of whoever wants 8-bit inputs; ours stay as they are
                warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
                # the converter's own calibration uses it
                warnings.filterwarnings("ignore", message=r"(?s).*tf\.lite\.Interpreter is deprecated")
                return bytes(converter.convert())

    def _calibration(self, examples: Mapping[str, Array]) -> Iterator[tuple[str, dict[str, Array]]]:
        rows = min(_CALIBRATION_ROWS, *(len(values) for values in examples.values()))
        for signature in self._signatures:
            for row in range(rows):
                yield signature, {name: np.asarray(examples[name][row : row + 1]) for name in self._inputs}


def _specs(inputs: dict[str, InputSpec], batch: int | None) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.TensorSpec([batch, *spec.shape], spec.dtype, name=name) for name, spec in inputs.items()}


def _freeze(predict: Callable[..., Any], inputs: dict[str, InputSpec], batch: int | None) -> Any:
    """Return a concrete function without variables."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    serve = tf.function(predict).get_concrete_function(**_specs(inputs, batch))
    frozen = convert_variables_to_constants_v2(serve)
    order = [tensor.name.partition(":")[0] for tensor in frozen.inputs]
    if kept := [name for name in order if name not in inputs]:
        raise ValueError(f"it keeps {len(kept)} tables or other resources beside its variables")
    names = sorted(serve.structured_outputs)

    def call(**tensors: Any) -> dict[str, Any]:
        results = frozen(*(tensors[name] for name in order))
        return dict(zip(names, results, strict=True))

    return tf.function(call).get_concrete_function(**_specs(inputs, batch))
