"""From a Keras model to what serves: a portable SavedModel and a frozen LiteRT model, inputs and outputs by name."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelyard.contract.package import MODEL_LITERT, SAVED_MODEL, Variant
from modelyard.model.features import InputSpec
from modelyard.model.runtime.litert import SIGNATURE, SIGNATURE_ONE

__all__ = ["export_model"]


def export_model(model: Any, inputs: dict[str, InputSpec], folder: Path) -> list[Variant]:
    """Write `saved_model/` and `model.tflite` of a Keras model and return the variants they are.

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
    content = _convert(predict, inputs)
    (folder / MODEL_LITERT).write_bytes(content)
    size = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    return [
        Variant(name="float32", runtime="litert", path=MODEL_LITERT, size=len(content)),
        Variant(name="saved-model", runtime="tensorflow", path=SAVED_MODEL, size=size),
    ]


def _convert(predict: Callable[..., Any], inputs: dict[str, InputSpec]) -> bytes:
    """Freeze a function and convert it, keeping the names of its inputs and outputs.

    The model has two signatures over the same weights: one for batches of any size, and one for a single instance,
    whose shapes are all known, so that it runs faster and its buffers never move.
    """
    import tensorflow as tf

    signatures = {SIGNATURE: _freeze(predict, inputs, None), SIGNATURE_ONE: _freeze(predict, inputs, 1)}
    module = tf.Module()
    with tempfile.TemporaryDirectory(prefix="modelyard-frozen-") as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        return bytes(converter.convert())


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
