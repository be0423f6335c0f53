"""From a Keras model to what serves: a portable SavedModel and a frozen LiteRT model, inputs and outputs by name."""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract.package import MODEL_LITERT, SAVED_MODEL, Precision, Variant
from modelyard.model.encoders import Array
from modelyard.model.features import InputSpec
from modelyard.model.runtime.litert import SIGNATURE, SIGNATURE_ONE

__all__ = ["ORIGINAL", "export_model"]

#: The variant that the others are measured against.
ORIGINAL = "float32"


#: How many held-out rows tell the ranges of activations.
_CALIBRATION_ROWS = 128


def export_model(
    model: Any,
    inputs: dict[str, InputSpec],
    folder: Path,
    precisions: Sequence[Precision] = (),
    examples: Mapping[str, Array] | None = None,
) -> list[Variant]:
    """Write `saved_model/`, `model.tflite` and its smaller forms of a Keras model; return the variants they are.

    `examples` are encoded rows, `(rows, *shape)`, whose activations tell the ranges of 8 bits. A form that LiteRT
    cannot make is returned too, not to be served and with the reason.

    The signature takes every encoder input by name, `(batch, *shape)`, and returns the model's named outputs. In the
    LiteRT model variables are constants and everything that only training needs is cut away.
    """
    import tensorflow as tf

    def predict(**tensors: Any) -> Any:
        return model(tensors, training=False)

    serve = tf.function(predict).get_concrete_function(**_specs(inputs, None))
    module = tf.Module()
    module.model = model
    saved = folder / SAVED_MODEL
    tf.saved_model.save(module, str(saved), signatures={SIGNATURE: serve})
    frozen = _Frozen(predict, inputs)
    content = frozen.convert()
    (folder / MODEL_LITERT).write_bytes(content)
    size = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    return [
        Variant(name=ORIGINAL, runtime="litert", path=MODEL_LITERT, size=len(content)),
        Variant(name="saved-model", runtime="tensorflow", path=SAVED_MODEL, size=size),
        *(_write_smaller(frozen, precision, examples or {}, folder) for precision in precisions),
    ]


def _write_smaller(frozen: "_Frozen", precision: Precision, examples: Mapping[str, Array], folder: Path) -> Variant:
    path = f"model-{precision}.tflite"
    try:
        content = frozen.convert(precision, examples)
    except Exception as error:
        # whatever TensorFlow raises here, the original is whole
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = f"LiteRT cannot make it: {lines[0][:300]}"
        return Variant(name=precision, runtime="litert", path=path, size=0, serve=False, reason=reason)
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
    names = sorted(serve.structured_outputs)

    def call(**tensors: Any) -> dict[str, Any]:
        results = frozen(*(tensors[name] for name in order))
        return dict(zip(names, results, strict=True))

    return tf.function(call).get_concrete_function(**_specs(inputs, batch))
