"""Requests and answers of each protocol, between JSON and the core. Pure."""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from modelyard.contract.package import (
    BooleanFeature,
    CategoryFeature,
    CrossFeature,
    DateFeature,
    IntegerFeature,
    OutputKind,
    TensorFeature,
)
from modelyard_server.core import Answer, Core, RequestError

__all__ = ["infer_columns", "infer_response", "model_metadata", "parse_json", "predict_request", "predict_response"]

_DATATYPES: dict[type, str] = {
    BooleanFeature: "BOOL",
    CategoryFeature: "BYTES",
    DateFeature: "BYTES",
    IntegerFeature: "INT64",
    TensorFeature: "FP32",
}


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the body's JSON object, bare NaN and Infinity included; raise RequestError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise RequestError(f"the body is no JSON: {error}") from error
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as again:
            raise RequestError(f"the body is no JSON: {again}") from again
    if not isinstance(document, dict):
        raise RequestError("the body must be a JSON object")
    return document


def predict_request(core: Core, document: Mapping[str, Any]) -> Answer:
    """Answer TensorFlow Serving's row form (`instances`) or column form (`inputs`)."""
    if ("instances" in document) == ("inputs" in document):
        raise RequestError("give either `instances` (rows) or `inputs` (columns)")
    names = core.model.encoder.names
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise RequestError("`instances` must be a list")
        if len(names) == 1:
            rows = [row if isinstance(row, dict) else {names[0]: row} for row in rows]
        if not all(isinstance(row, dict) for row in rows):
            raise RequestError("each of `instances` must be an object of feature name to value")
        return core.answer_rows(rows)
    columns = document["inputs"]
    if isinstance(columns, list) and len(names) == 1:
        columns = {names[0]: columns}
    if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
        raise RequestError("`inputs` must be an object of feature name to a list of values")
    return core.answer_columns(columns)


def predict_response(core: Core, answer: Answer, *, columns: bool = False) -> dict[str, Any]:
    """Return the answer in the form that was asked for."""
    if not columns:
        return {"predictions": core.model.answerer.rows(answer.outputs)}
    listed = {name: values.tolist() for name, values in answer.outputs.items()}
    return {"outputs": next(iter(listed.values())) if len(listed) == 1 else listed}


def infer_columns(core: Core, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an Open Inference request: one input tensor a feature; raise RequestError."""
    tensors = document.get("inputs")
    if not isinstance(tensors, list) or not all(isinstance(tensor, dict) for tensor in tensors):
        raise RequestError("`inputs` must be a list of tensors")
    columns: dict[str, Any] = {}
    for tensor in tensors:
        name, data, shape = tensor.get("name"), tensor.get("data"), tensor.get("shape")
        if not isinstance(name, str) or not isinstance(data, list) or not isinstance(shape, list) or not shape:
            raise RequestError("each input needs `name`, `shape`, `datatype` and `data`")
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise RequestError(f"{name}: `shape` must be a list of sizes")
        columns[name] = _instances(name, data, shape)
    return columns


def _instances(name: str, data: list[Any], shape: list[int]) -> list[Any]:
    """Return one value an instance from flat or nested data."""
    flat = data
    while flat and isinstance(flat[0], list):
        if not all(isinstance(item, list) for item in flat):
            raise RequestError(f"{name}: `data` is unevenly nested")
        flat = [value for inner in flat for value in inner]
    count, size = shape[0], 1
    for dimension in shape[1:]:
        size *= dimension
    if len(flat) != count * size:
        raise RequestError(f"{name}: `data` has {len(flat)} values, `shape` says {count * size}")
    return flat if size == 1 else [flat[start : start + size] for start in range(0, len(flat), size)]


def infer_response(core: Core, document: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Return an Open Inference response; its id is the request's."""
    outputs = []
    for output in core.model.labels.outputs:
        values = answer.outputs[output.name]
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": "FP32",
            "shape": list(values.shape),
            "data": [float(str(value)) for value in values.ravel()],
        }
        if output.kind is OutputKind.TAGS:
            tensor["parameters"] = {"labels": ",".join(label.name for label in output.labels)}
        outputs.append(tensor)
    identity = {"id": document["id"]} if "id" in document else {}
    return {"model_name": core.name, "model_version": core.version, **identity, "outputs": outputs}


def model_metadata(core: Core) -> dict[str, Any]:
    """Return the Open Inference metadata: a tensor for each raw feature and each output."""
    inputs = [
        {
            "name": feature.name,
            "datatype": _DATATYPES.get(type(feature), "FP64"),
            "shape": [-1, *feature.shape] if isinstance(feature, TensorFeature) else [-1],
        }
        for feature in core.model.features.features
        if not isinstance(feature, CrossFeature)
    ]
    outputs = [
        {
            "name": output.name,
            "datatype": "FP32",
            "shape": [-1, len(output.labels)] if output.kind is OutputKind.TAGS else [-1],
        }
        for output in core.model.labels.outputs
    ]
    return {
        "name": core.name,
        "versions": [core.version],
        "platform": "tensorflow_lite",
        "inputs": inputs,
        "outputs": outputs,
    }
