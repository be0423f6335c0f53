"""What can be published, as one kind of thing: a function of the encoded inputs by name to the outputs by name.

A Keras model of any style, a `tf.Module`, a `tf.function` or another callable, the folder of a SavedModel. How it wants
its inputs is read from its signature: by name, as one mapping, or as the only tensor. What it returns may be a mapping,
a list in the order of `labels.json`, or the only tensor.
"""

import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract.package import Labels, Output, OutputKind
from modelyard.model.encoders import Array
from modelyard.model.features import InputSpec
from modelyard.model.runtime import SIGNATURE

__all__ = ["PublishError", "Source", "check_shapes", "is_litert_file"]

Tensors = Mapping[str, Any]
#: Parameters that are no features.
_CONTROLS = frozenset(("self", "training", "mask"))
#: What TensorFlow calls outputs that nobody named.
_UNNAMED = re.compile(r"output_[0-9]+")


class PublishError(ValueError):
    """A model cannot be published; the message names what is wrong and the fix."""


def is_litert_file(model: Any) -> bool:
    """Say whether this is the path of a LiteRT file."""
    return isinstance(model, str | os.PathLike) and os.fspath(model).endswith(".tflite")


class Source:
    """A model to be published."""

    def __init__(self, model: Any, inputs: Mapping[str, InputSpec], labels: Labels) -> None:
        self.holder = _load(model) if isinstance(model, str | os.PathLike) else model
        """What holds the variables."""
        self._inputs = inputs
        self._labels = labels
        self._call = _caller(self.holder, inputs)
        self._names: Sequence[str] = getattr(self.holder, "output_names", None) or ()

    def predict(self, **tensors: Any) -> dict[str, Any]:
        """Return the outputs that the labels name, float32; raise PublishError."""
        import tensorflow as tf

        named = self._named(self._call(tensors))
        return {name: tf.cast(tf.convert_to_tensor(value), tf.float32) for name, value in named.items()}

    def outputs(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of encoded rows; raise PublishError if one has not the shape that its label says."""
        found = {name: np.asarray(value) for name, value in self.predict(**inputs).items()}
        check_shapes(self._labels, found)
        return found

    def _named(self, result: Any) -> dict[str, Any]:
        wanted = [output.name for output in self._labels.outputs]
        if isinstance(result, Mapping):
            given = dict(result)
            if all(_UNNAMED.fullmatch(name) for name in given) and len(given) == len(wanted):
                given = dict(zip(wanted, (given[name] for name in sorted(given, key=_number)), strict=True))
            missing = [name for name in wanted if name not in given]
            if missing:
                told = f"it gives {', '.join(map(str, given))}"
                raise PublishError(f"labels name outputs that the model lacks: {', '.join(missing)}; {told}")
            return {name: given[name] for name in wanted}
        values = list(result) if isinstance(result, list | tuple) else [result]
        if len(values) == len(self._names) and set(wanted) <= set(self._names):
            by_name = dict(zip(self._names, values, strict=True))
            return {name: by_name[name] for name in wanted}
        if len(values) != len(wanted):
            told = f"labels name {len(wanted)}: {', '.join(wanted)}"
            raise PublishError(f"the model gives {len(values)} outputs without names, {told}")
        return dict(zip(wanted, values, strict=True))


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def check_shapes(labels: Labels, outputs: Mapping[str, Array]) -> None:
    """Raise PublishError if an output has not the shape that its label says."""
    for output in labels.outputs:
        _check_shape(output, outputs[output.name])


def _check_shape(output: Output, values: Array) -> None:
    shape = tuple(values.shape[1:])
    if output.kind is OutputKind.TAGS and shape != (len(output.labels),):
        raise PublishError(
            f"output {output.name} has the shape {shape} an instance: it has {len(output.labels)} labels"
        )
    if output.kind in (OutputKind.PROBABILITY, OutputKind.REGRESSION) and shape not in ((), (1,)):
        raise PublishError(f"output {output.name} has the shape {shape} an instance: a {output.kind} is one number")


def _load(path: str | os.PathLike[str]) -> Any:
    import tensorflow as tf

    if not (Path(path) / "saved_model.pb").is_file():
        raise PublishError(f"{os.fspath(path)} is neither the folder of a SavedModel nor a .tflite file")
    return tf.saved_model.load(os.fspath(path))


def _caller(model: Any, inputs: Mapping[str, InputSpec]) -> Callable[[Tensors], Any]:
    """Return how the model is called with all encoded inputs; raise PublishError."""
    signatures = getattr(model, "signatures", None)
    if signatures:
        return _signature_caller(signatures, inputs)
    if hasattr(model, "structured_input_signature"):
        return _signature_caller({SIGNATURE: model}, inputs)
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):
        return _keras_caller(model, inputs)
    function = getattr(model, "serve", None) or (model if callable(model) else None)
    if function is None:
        kind = type(model).__name__
        raise PublishError(f"a {kind} cannot be published: it has no __call__ and no serve(), and is no SavedModel")
    return _function_caller(function, getattr(function, "python_function", function), inputs)


def _keras_caller(model: Any, inputs: Mapping[str, InputSpec]) -> Callable[[Tensors], Any]:
    tensors = getattr(model, "inputs", None)
    if not tensors:
        controls = inspect.signature(model.call).parameters
        arguments = {"training": False} if "training" in controls else {}
        return _function_caller(lambda *given, **named: model(*given, **named, **arguments), model.call, inputs)
    structure = getattr(model, "input", tensors)
    if isinstance(structure, Mapping):
        keys = _taken(list(structure), inputs, "the model's inputs are")
        return lambda given: model({key: given[name] for key, name in keys.items()}, training=False)
    keys = _taken([tensor.name for tensor in tensors], inputs, "the model's inputs are")
    if isinstance(structure, list | tuple) and len(structure) > 1:
        return lambda given: model([given[name] for name in keys.values()], training=False)
    [only] = keys.values()
    return lambda given: model(given[only], training=False)


def _signature_caller(signatures: Mapping[str, Any], inputs: Mapping[str, InputSpec]) -> Callable[[Tensors], Any]:
    """Return how a SavedModel's signature is called; its dtypes and `(batch, 1)` for `(batch,)` are made to fit."""
    if SIGNATURE not in signatures and len(signatures) != 1:
        raise PublishError(f"the SavedModel has the signatures {', '.join(signatures)}: {SIGNATURE} is expected")
    function = signatures[SIGNATURE] if SIGNATURE in signatures else next(iter(signatures.values()))
    specs = function.structured_input_signature[1]
    keys = _taken(list(specs), inputs, "the signature takes")

    def call(given: Tensors) -> Any:
        return function(**{key: _fit(given[name], specs[key]) for key, name in keys.items()})

    return call


def _fit(tensor: Any, spec: Any) -> Any:
    import tensorflow as tf

    tensor = tf.cast(tensor, spec.dtype)
    rank = spec.shape.rank
    if rank is not None and rank == len(tensor.shape) + 1 and spec.shape[-1] in (1, None):
        return tf.expand_dims(tensor, -1)
    return tensor


def _taken(wanted: Sequence[str], inputs: Mapping[str, InputSpec], what: str) -> dict[str, str]:
    """Return which encoded input each of the model's takes: the one of its name, or the only one."""
    if len(wanted) == 1 and len(inputs) == 1:
        return {wanted[0]: next(iter(inputs))}
    missing = [name for name in wanted if name not in inputs]
    if missing:
        told = f"features encode {', '.join(inputs)}"
        raise PublishError(f"{what} {', '.join(wanted)}; {told}: {', '.join(missing)} must have a feature's name")
    return {name: name for name in wanted}


def _function_caller(
    function: Callable[..., Any], described: Callable[..., Any], inputs: Mapping[str, InputSpec]
) -> Callable[[Tensors], Any]:
    parameters = [item for item in inspect.signature(described).parameters.values() if item.name not in _CONTROLS]
    takes_all = any(item.kind is item.VAR_KEYWORD for item in parameters)
    plain = [item for item in parameters if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)]
    names = [item.name for item in plain]
    required = [item.name for item in plain if item.default is item.empty]
    chosen = [name for name in inputs if takes_all or name in names]
    if chosen and set(required) <= inputs.keys():
        return lambda given: function(**{name: given[name] for name in chosen})
    if len(required) == 1 or (not required and parameters):
        return _one_argument(function, inputs)
    told = f"features encode {', '.join(inputs)}"
    raise PublishError(f"the model takes {', '.join(names) or 'nothing'}; {told}: give its parameters the same names")


def _one_argument(function: Callable[..., Any], inputs: Mapping[str, InputSpec]) -> Callable[[Tensors], Any]:
    """Return how a function of one argument is called: with the mapping of all, or with the only tensor."""
    if len(inputs) > 1:
        return lambda given: function(dict(given))
    [only] = inputs

    def call(given: Tensors) -> Any:
        try:
            return function(given[only])
        except (TypeError, ValueError, IndexError, KeyError) as error:
            try:
                return function(dict(given))
            except Exception:
                raise error from None

    return call
