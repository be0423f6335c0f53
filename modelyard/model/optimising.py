"""From a Keras model to what serves: a portable SavedModel and a frozen LiteRT model, inputs and outputs by name."""

from pathlib import Path
from typing import Any

from modelyard.contract.package import MODEL_LITERT, SAVED_MODEL, Variant
from modelyard.model.features import InputSpec
from modelyard.model.runtime.litert import SIGNATURE

__all__ = ["export_model"]


def export_model(model: Any, inputs: dict[str, InputSpec], folder: Path) -> list[Variant]:
    """Write `saved_model/` and `model.tflite` of a Keras model and return the variants they are.

    The signature takes every encoder input by name, `(batch, *shape)`, and returns the model's named outputs;
    variables become constants and everything that only training needs is cut away.
    """
    import tensorflow as tf

    @tf.function  # type: ignore[untyped-decorator]
    def serve(**tensors: Any) -> Any:
        return model(tensors, training=False)

    specs = {name: tf.TensorSpec([None, *spec.shape], spec.dtype, name=name) for name, spec in inputs.items()}
    module = tf.Module()
    module.model = model
    saved = folder / SAVED_MODEL
    tf.saved_model.save(module, str(saved), signatures={SIGNATURE: serve.get_concrete_function(**specs)})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved), signature_keys=[SIGNATURE])
    content = converter.convert()
    (folder / MODEL_LITERT).write_bytes(content)
    size = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    return [
        Variant(name="float32", runtime="litert", path=MODEL_LITERT, size=len(content)),
        Variant(name="saved-model", runtime="tensorflow", path=SAVED_MODEL, size=size),
    ]
