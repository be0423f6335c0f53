"""The same model for every peer, as its users would load it: encoded features in, a probability out."""

import os
from typing import Any

import numpy as np

IDS = [f"id{place}" for place in range(6)]
NUMBERS = [f"number{place}" for place in range(10)]
PACKAGE = os.environ["PACKAGE"]


class WithTensorFlow:
    """The package's SavedModel."""

    def __init__(self) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._constant = tf.constant
        self._loaded = tf.saved_model.load(f"{PACKAGE}/saved_model")
        self._call = self._loaded.signatures["serving_default"]

    def __call__(self, columns: dict[str, Any]) -> list[float]:
        inputs = {name: self._constant(columns[name], "int32") for name in IDS}
        inputs |= {name: self._constant(columns[name], "float32") for name in NUMBERS}
        found: list[float] = self._call(**inputs)["click"].numpy().ravel().tolist()
        return found


class WithLiteRT:
    """The package's LiteRT model."""

    def __init__(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=f"{PACKAGE}/model.tflite", num_threads=1)
        signature = self._interpreter._get_full_signature_list()["serving_default"]
        self._inputs, self._outputs = signature["inputs"], signature["outputs"]
        for place in self._inputs.values():
            self._interpreter.resize_tensor_input(place, [1])
        self._interpreter.allocate_tensors()

    def __call__(self, columns: dict[str, Any]) -> list[float]:
        for name, place in self._inputs.items():
            dtype = "int32" if name in IDS else "float32"
            self._interpreter.set_tensor(place, np.array(columns[name], dtype))
        self._interpreter.invoke()
        found: list[float] = self._interpreter.get_tensor(self._outputs["click"]).ravel().tolist()
        return found


def load() -> Any:
    """Return the model that the environment asks for."""
    return {"tensorflow": WithTensorFlow, "litert": WithLiteRT}[os.environ["RUNTIME"]]()
