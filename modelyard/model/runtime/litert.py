"""LiteRT: a model in a flatbuffer, executed by a small interpreter."""

import copy
import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import encode, packer
from flatbuffers.table import Table

from modelyard.model.costs import pieces
from modelyard.model.encoders import Array
from modelyard.model.runtime import SIGNATURE, RuntimeProblem

__all__ = ["LiteRT", "check_litert"]

#: Takes one instance; optional.
SIGNATURE_ONE = "serving_one"
#: Instances of one call, until somebody measured what is best: as many as this many bytes of input hold, at most 64.
_BATCH_BYTES = 1 << 22
_LARGEST_BATCH = 64


class LiteRT:
    """A LiteRT model opened from its bytes.

    An interpreter has buffers for one batch size, and changing it costs more than predicting. So there is one
    interpreter for each power of two, made when it is first needed, and a batch is cut into such pieces.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        self._content = content
        self._threads = threads
        self._runners: dict[int, Callable[[Mapping[str, Array]], dict[str, Array]]] = {}
        interpreter = self._interpreter()
        self._places, self._results = _signature(interpreter)
        details = {detail["index"]: detail for detail in interpreter.get_input_details()}
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, index in self._places.items():
            shape = tuple(int(size) for size in details[index]["shape_signature"][1:])
            self.inputs[name] = (np.dtype(details[index]["dtype"]).name, shape)
        self.outputs = tuple(self._results)
        size = sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in self.inputs.values())
        self.largest_batch = min(_LARGEST_BATCH, 1 << (max(1, _BATCH_BYTES // max(size, 1)).bit_length() - 1))

    @classmethod
    def read(cls, path: Path, threads: int = 1) -> Self:
        """Open a file that nobody vouches for; raise RuntimeProblem."""
        content = path.read_bytes()
        check_litert(content)
        return cls(content, threads)

    def fork(self) -> Self:
        """Return the same model with buffers of its own, for another thread."""
        other = copy.copy(self)
        other._runners = {}
        return other

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute one batch."""
        batch = len(next(iter(inputs.values())))
        sizes = pieces(batch, self.largest_batch)
        if len(sizes) == 1:
            return self._predict_piece(inputs, batch)
        parts, start = [], 0
        for size in sizes:
            piece = {name: values[start : start + size] for name, values in inputs.items()}
            parts.append(self._predict_piece(piece, size))
            start += size
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def _predict_piece(self, inputs: Mapping[str, Array], size: int) -> dict[str, Array]:
        runner = self._runners.get(size)
        if runner is None:
            runner = self._runners[size] = self._runner(size)
        return runner(inputs)

    def _runner(self, size: int) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """Return a function that executes exactly so many instances."""
        interpreter = self._sized(size)
        native = interpreter._interpreter
        try:
            memories = [(name, _memory(native, place, 0)) for name, place in self._places.items()]
            results = [(name, _memory(native, place, 0)) for name, place in self._results.items()]
        except ValueError:
            return self._careful_runner(interpreter)

        def predict(inputs: Mapping[str, Array]) -> dict[str, Array]:
            for name, memory in memories:
                memory[...] = inputs[name]
            native.Invoke(0)
            return {name: memory.copy() for name, memory in results}

        return predict

    def _careful_runner(self, interpreter: Interpreter) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        """Return such a function for a model whose tensors move: a shape is only known while it runs."""

        native = interpreter._interpreter

        def predict(inputs: Mapping[str, Array]) -> dict[str, Array]:
            for name, place in self._places.items():
                native.SetTensor(place, inputs[name], 0)
            native.Invoke(0)
            return {name: native.GetTensor(place, 0) for name, place in self._results.items()}

        return predict

    def rows(self, order: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Array]]:
        """Return a function of one instance's values, in this order of inputs: the fast way of single requests.

        It is no more to be called from two threads at once than `predict`, but goes well beside it.
        """
        fixed = self._fixed(order)
        return self._staged(order) if fixed is None else fixed

    def _fixed(self, order: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Array]] | None:
        """Return such a function over the signature for one instance, or None without one whose buffers stay put.

        The values are written where the interpreter reads them, without a call each. LiteRT plans all memory when
        it allocates, unless a shape is only known while it runs; then some output has no memory yet.
        """
        interpreter = self._interpreter()
        signature = interpreter._get_full_signature_list().get(SIGNATURE_ONE)
        if signature is None:
            return None
        native = interpreter._interpreter
        graph = native.GetSubgraphIndexFromSignature(SIGNATURE_ONE)
        native.AllocateTensors(graph)
        try:
            results = [(name, _memory(native, place, graph)) for name, place in signature["outputs"].items()]
        except ValueError:
            return None
        inputs = [(_memory(native, place, graph), order.index(name)) for name, place in signature["inputs"].items()]

        def predict(values: Sequence[Any]) -> dict[str, Array]:
            for memory, position in inputs:
                memory[0] = values[position]
            native.Invoke(graph)
            return {name: memory.copy() for name, memory in results}

        return predict

    def _staged(self, order: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Array]]:
        """Return such a function that hands over each input and fetches each output."""
        interpreter = self._sized(1)
        staged = []
        for name, place in self._places.items():
            dtype, shape = self.inputs[name]
            staged.append((np.zeros((1, *shape), dtype), order.index(name), place))

        def predict(values: Sequence[Any]) -> dict[str, Array]:
            for array, position, place in staged:
                array[0] = values[position]
                interpreter.set_tensor(place, array)
            interpreter.invoke()
            return {name: interpreter.get_tensor(place) for name, place in self._results.items()}

        return predict

    def _interpreter(self) -> Interpreter:
        try:
            interpreter = Interpreter(model_content=self._content, num_threads=self._threads)
        except (ValueError, RuntimeError) as error:
            raise RuntimeProblem(f"LiteRT cannot open the model: {error}") from error
        return interpreter

    def _sized(self, batch: int) -> Interpreter:
        """Return an interpreter whose buffers have this batch size."""
        interpreter = self._interpreter()
        for name, index in self._places.items():
            interpreter.resize_tensor_input(index, [batch, *self.inputs[name][1]])
        interpreter.allocate_tensors()
        return interpreter


def _memory(native: Any, place: int, graph: int) -> Array:
    """Return a tensor's own memory; raise ValueError if it has none yet.

    The array counts as no reference into the interpreter, which would not run then: whoever uses it keeps `native`.
    """
    view = native.tensor(native, place, graph)
    address = view.__array_interface__["data"][0]
    memory = (ctypes.c_char * view.nbytes).from_address(address)
    return np.frombuffer(memory, dtype=view.dtype).reshape(view.shape)


def _signature(interpreter: Interpreter) -> tuple[dict[str, int], dict[str, int]]:
    """Return input and output names with their tensor indices."""
    found = interpreter._get_full_signature_list()
    if SIGNATURE not in found:
        raise RuntimeProblem(f"there is no signature {SIGNATURE}; there are {sorted(found)}")
    return dict(found[SIGNATURE]["inputs"]), dict(found[SIGNATURE]["outputs"])


def check_litert(content: bytes) -> None:
    """Raise RuntimeProblem for what is no model, or one with custom operations.

    These run code that is not LiteRT's own; TensorFlow's among them (Flex) can read and write files.
    """
    if content[4:8] != b"TFL3":
        raise RuntimeProblem("not a LiteRT model: the file identifier TFL3 is missing")
    try:
        codes = _custom_codes(content)
    except Exception as error:
        raise RuntimeProblem(f"a damaged LiteRT model: {type(error).__name__}") from error
    custom = [code for code in codes if code]
    if custom:
        names = ", ".join(code.decode(errors="replace") for code in custom)
        raise RuntimeProblem(f"the model uses custom operations, which are not allowed: {names}")


def _custom_codes(content: bytes) -> list[bytes | None]:
    """Return the custom code of each operator code, None for built-in ones.

    The schema's generated module can do this too, but takes 4 MB of each serving process.
    """
    # Model.operator_codes and OperatorCode.custom_code are both the second field of their table.
    second = 6
    model = Table(content, encode.Get(packer.uoffset, content, 0))
    field = model.Offset(second)
    if not field:
        return []
    start, codes = model.Vector(field), []
    for place in range(model.VectorLen(field)):
        code = Table(content, model.Indirect(start + 4 * place))
        custom = code.Offset(second)
        codes.append(code.String(custom + code.Pos) if custom else None)
    return codes
