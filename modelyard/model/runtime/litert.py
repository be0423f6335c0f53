"""LiteRT: a model in a flatbuffer, executed by a small interpreter."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from modelyard.model.encoders import Array
from modelyard.model.runtime import RuntimeProblem

__all__ = ["LiteRT"]

SIGNATURE = "serving_default"
#: Batch sizes whose buffers are kept.
_KEPT = 8


class LiteRT:
    """A LiteRT model opened from its bytes."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        content = path.read_bytes()
        _refuse_custom_operations(content)
        self._content = content
        self._threads = threads
        self._runners: dict[int, tuple[Interpreter, dict[str, int], dict[str, int]]] = {}
        interpreter = self._interpreter()
        self._names = _signature(interpreter, path)
        details = {detail["index"]: detail for detail in interpreter.get_input_details()}
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, index in self._names[0].items():
            shape = tuple(int(size) for size in details[index]["shape_signature"][1:])
            self.inputs[name] = (np.dtype(details[index]["dtype"]).name, shape)
        self.outputs = tuple(self._names[1])

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute one batch."""
        batch = len(next(iter(inputs.values())))
        interpreter, places, results = self._runner(batch)
        for name, place in places.items():
            interpreter.set_tensor(place, inputs[name])
        interpreter.invoke()
        return {name: interpreter.get_tensor(place) for name, place in results.items()}

    def _interpreter(self) -> Interpreter:
        try:
            interpreter = Interpreter(model_content=self._content, num_threads=self._threads)
        except (ValueError, RuntimeError) as error:
            raise RuntimeProblem(f"LiteRT cannot open the model: {error}") from error
        return interpreter

    def _runner(self, batch: int) -> tuple[Interpreter, dict[str, int], dict[str, int]]:
        """Return an interpreter whose buffers have this batch size; resizing costs more than predicting."""
        if batch in self._runners:
            return self._runners[batch]
        if len(self._runners) >= _KEPT:
            del self._runners[next(size for size in self._runners if size != 1)]
        interpreter = self._interpreter()
        for name, index in self._names[0].items():
            interpreter.resize_tensor_input(index, [batch, *self.inputs[name][1]])
        interpreter.allocate_tensors()
        self._runners[batch] = (interpreter, *self._names)
        return self._runners[batch]


def _signature(interpreter: Interpreter, path: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return input and output names with their tensor indices."""
    found = interpreter._get_full_signature_list()
    if SIGNATURE not in found:
        raise RuntimeProblem(f"{path.name} has no signature {SIGNATURE}; it has {sorted(found)}")
    return dict(found[SIGNATURE]["inputs"]), dict(found[SIGNATURE]["outputs"])


def _refuse_custom_operations(content: bytes) -> None:
    """Custom operations run code that is not LiteRT's own; TensorFlow's among them can read and write files."""
    if content[4:8] != b"TFL3":
        raise RuntimeProblem("not a LiteRT model: the file identifier TFL3 is missing")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
    except Exception as error:
        raise RuntimeProblem(f"a damaged LiteRT model: {type(error).__name__}") from error
    custom = [code.customCode for code in model.operatorCodes or [] if code.customCode]
    if custom:
        names = ", ".join(code.decode(errors="replace") for code in custom)
        raise RuntimeProblem(f"the model uses custom operations, which are not allowed: {names}")
