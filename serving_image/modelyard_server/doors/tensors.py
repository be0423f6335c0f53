"""Open Inference tensors: between their wire forms (JSON lists, raw bytes) and columns of raw features."""

import math
import struct
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from modelyard.contract.package import (
    BooleanFeature,
    CategoryFeature,
    CrossFeature,
    DateFeature,
    Feature,
    HashFeature,
    ImageFeature,
    IntegerFeature,
    ListFeature,
    OutputKind,
    TensorFeature,
)
from modelyard.model.encoders import Array
from modelyard.model.opening import Model
from modelyard_server.asking import RequestError

__all__ = [
    "SCALARS",
    "check_output",
    "check_shape",
    "describe_inputs",
    "describe_outputs",
    "from_bytes",
    "from_list",
    "keep_column",
    "to_bytes",
]

#: Open Inference datatype to numpy's, where it has one; all little-endian.
_DTYPES = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
#: How a single element is read, without an array around it.
SCALARS = {name: struct.Struct(f"<{code}") for name, code in zip(_DTYPES, "?BHIQbhiqefd", strict=True)}
_LENGTH = struct.Struct("<I")
#: Datatype that a raw feature is best sent as; numbers are FP64.
_FEATURE_TYPES: dict[type, str] = {
    BooleanFeature: "BOOL",
    CategoryFeature: "BYTES",
    DateFeature: "BYTES",
    HashFeature: "BYTES",
    ImageFeature: "BYTES",
    IntegerFeature: "INT64",
    ListFeature: "BYTES",
    TensorFeature: "FP32",
}


def describe_inputs(model: Model) -> list[dict[str, Any]]:
    """Return a tensor for each raw feature, as the metadata shows it."""
    return [
        {
            "name": feature.name,
            "datatype": _FEATURE_TYPES.get(type(feature), "FP64"),
            "shape": [-1, *_shape_of(feature)],
        }
        for feature in model.features.features
        if not isinstance(feature, CrossFeature)
    ]


def _shape_of(feature: Feature) -> list[int]:
    """Return the shape of one instance of a raw feature; -1 is any size."""
    if isinstance(feature, TensorFeature):
        return feature.shape
    return [-1] if isinstance(feature, ListFeature) else []


def describe_outputs(model: Model) -> list[dict[str, Any]]:
    """Return a tensor for each output, as the metadata shows it."""
    return [
        {
            "name": output.name,
            "datatype": "FP32",
            "shape": [-1, len(output.labels)] if output.kind is OutputKind.TAGS else [-1],
        }
        for output in model.labels.outputs
    ]


def check_shape(name: Any, shape: Any) -> tuple[str, list[int]]:
    """Return a tensor's name and its shape, `[instances, …]`; raise RequestError."""
    if not isinstance(name, str):
        raise RequestError("each input needs a `name`")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 8:
        raise RequestError(f"{name}: `shape` must be a list of 1 to 8 sizes")
    if not all(type(size) is int and 0 <= size < 1 << 31 for size in shape):
        raise RequestError(f"{name}: `shape` must be a list of sizes")
    return name, shape


def from_list(name: str, shape: Sequence[int], data: Any) -> list[Any]:
    """Return one value an instance from flat or nested lists; raise RequestError."""
    if not isinstance(data, list):
        raise RequestError(f"{name}: `data` must be a list")
    flat = data
    while flat and isinstance(flat[0], list):
        if not all(isinstance(item, list) for item in flat):
            raise RequestError(f"{name}: `data` is unevenly nested")
        flat = [value for inner in flat for value in inner]
    size = math.prod(shape[1:])
    if len(flat) != shape[0] * size:
        raise RequestError(f"{name}: `data` has {len(flat)} values, `shape` says {shape[0] * size}")
    return flat if size == 1 else [flat[start : start + size] for start in range(0, len(flat), size)]


def from_bytes(name: str, datatype: Any, shape: Sequence[int], data: memoryview) -> list[Any] | Array:
    """Return one value an instance from a raw tensor, without a copy where there is none to make; bytes for BYTES."""
    size = math.prod(shape)
    if datatype == "BYTES":
        return from_list(name, shape, _split_bytes(name, data, size))
    dtype = _DTYPES.get(datatype)
    if dtype is None:
        raise RequestError(f"{name}: `datatype` {datatype!r} is none of {', '.join([*_DTYPES, 'BYTES'])}")
    if len(data) != size * dtype.itemsize:
        raise RequestError(
            f"{name}: {len(data)} bytes of data, {datatype} of this `shape` takes {size * dtype.itemsize}"
        )
    if size == 1 and shape[0] == 1:
        return [SCALARS[datatype].unpack(data)[0]]
    array = np.frombuffer(data, dtype)
    inner = math.prod(shape[1:])
    return array if inner == 1 else array.reshape(shape)


def _split_bytes(name: str, data: memoryview, count: int) -> list[bytes]:
    """Return the elements of a BYTES tensor: a four-byte length and so many bytes, each."""
    found: list[bytes] = []
    text, place, length_at = bytes(data), 0, _LENGTH.unpack_from
    try:
        for _ in range(count):
            stop = place + 4 + length_at(text, place)[0]
            found.append(text[place + 4 : stop])
            place = stop
    except struct.error:
        place = -1
    if place != len(text):
        raise RequestError(f"{name}: {count} BYTES elements, as `shape` says, do not fit {len(text)} bytes of data")
    return found


def keep_column(columns: dict[str, Any], name: str, values: Any, *, as_text: bool) -> None:
    """Add a tensor's column, its bytes as text where the feature is text; raise RequestError if it is there already."""
    if name in columns:
        raise RequestError(f"{name}: given twice")
    columns[name] = _texts(name, values) if as_text else values


def check_output(name: Any, known: Collection[str]) -> str:
    """Return the name of an output that was asked for; raise RequestError if there is none of this name."""
    if not isinstance(name, str) or name not in known:
        raise RequestError(f"output {name!r}: there is only {', '.join(known)}")
    return name


def _texts(name: str, values: list[Any]) -> list[Any]:
    """Return the texts of BYTES elements, or of lists of them."""
    try:
        if values and type(values[0]) is list:
            return [[item.decode() for item in value] for value in values]
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise RequestError(f"{name}: the BYTES elements are no UTF-8 text") from error


def to_bytes(values: Array) -> bytes:
    """Return a tensor's elements, little-endian, row by row."""
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
