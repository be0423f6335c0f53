"""From a Keras model to what serves: a portable SavedModel and a frozen LiteRT model, inputs and outputs by name."""

import tempfile
from pathlib import Path
from typing import Any

from modelyard.contract.package import MODEL_LITERT, SAVED_MODEL, Variant
from modelyard.model.features import InputSpec
from modelyard.model.runtime.litert import SIGNATURE

__all__ = ["export_model"]


def export_model(model: Any, inputs: dict[str, InputSpec], folder: Path) -> list[Variant]:
    """Write `saved_model/` and `model.tflite` of a Keras model and return the variants they are.

    The signature takes every encoder input by name, `(batch, *shape)`, and returns the model's named outputs. In the
    LiteRT model variables are constants and everything that only training needs is cut away.
    """
    import tensorflow as tf

    def predict(**tensors: Any) -> Any:
        return model(tensors, training=False)

    specs = {name: tf.TensorSpec([None, *spec.shape], spec.dtype, name=name) for name, spec in inputs.items()}
    serve = tf.function(predict).get_concrete_function(**specs)
    module = tf.Module()
    module.model = model
    saved = folder / SAVED_MODEL
    tf.saved_model.save(module, str(saved), signatures={SIGNATURE: serve})
    content = _convert(serve, specs)
    (folder / MODEL_LITERT).write_bytes(content)
    size = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    return [
        Variant(name="float32", runtime="litert", path=MODEL_LITERT, size=len(content)),
        Variant(name="saved-model", runtime="tensorflow", path=SAVED_MODEL, size=size),
    ]


def _convert(serve: Any, specs: dict[str, Any]) -> bytes:
    """Freeze a concrete function and convert it, keeping the names of its inputs and outputs."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(serve)
    order = [tensor.name.partition(":")[0] for tensor in frozen.inputs]
    names = sorted(serve.structured_outputs)

    def predict(**tensors: Any) -> dict[str, Any]:
        results = frozen(*(tensors[name] for name in order))
        return dict(zip(names, results, strict=True))

    module = tf.Module()
    with tempfile.TemporaryDirectory(prefix="modelyard-frozen-") as folder:
        signature = tf.function(predict).get_concrete_function(**specs)
        tf.saved_model.save(module, folder, signatures={SIGNATURE: signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        return bytes(converter.convert())
