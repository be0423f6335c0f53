"""What is asked: the same instances through every door."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import numpy as np

from modelyard.contract.package import CategoryFeature, TensorFeature
from modelyard.model.opening import Model

__all__ = ["Request", "requests_for"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One HTTP request, sent again and again."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def requests_for(model: Model, name: str, instances: int) -> dict[str, Request]:
    """Return a request for each door that the model's features fit: `get`, `v1`, `v2`, `v2-binary`, `grpc`."""
    rows = [model.samples[number % len(model.samples)].request for number in range(instances)]
    json_headers = {"Content-Type": "application/json"}
    v1, v2 = f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"
    raw, length = _binary(model, rows)
    found = {
        "v2-binary": Request(
            "POST",
            v2,
            raw,
            {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(length)},
        ),
        "grpc": Request("POST", "/inference.GRPCInferenceService/ModelInfer", _message(model, name, rows)),
    }
    if not any(isinstance(feature, TensorFeature) for feature in model.features.features):
        found["v1"] = Request("POST", v1, json.dumps({"instances": rows}).encode(), json_headers)
        found["v2"] = Request("POST", v2, json.dumps({"inputs": _tensors(model, rows)}).encode(), json_headers)
        if instances == 1:
            found["get"] = Request("GET", f"{v1}?{urlencode(rows[0])}")
    return found


def _columns(model: Model, rows: Sequence[Row]) -> list[tuple[str, str, list[int], Any]]:
    columns: list[tuple[str, str, list[int], Any]] = []
    for feature in model.features.features:
        values = [row[feature.name] for row in rows]
        if isinstance(feature, CategoryFeature):
            columns.append((feature.name, "BYTES", [len(rows)], values))
        elif isinstance(feature, TensorFeature):
            columns.append((feature.name, "UINT8", [len(rows), *feature.shape], np.array(values, np.uint8)))
        else:
            columns.append((feature.name, "FP64", [len(rows)], values))
    return columns


def _tensors(model: Model, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": datatype, "shape": shape, "data": data}
        for name, datatype, shape, data in _columns(model, rows)
    ]


def _raw(datatype: str, data: Any) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text)) + text.encode() for text in data)
    return np.asarray(data, {"FP64": "<f8", "UINT8": "u1"}[datatype]).tobytes()


def _binary(model: Model, rows: Sequence[Row]) -> tuple[bytes, int]:
    raws, inputs = [], []
    for name, datatype, shape, data in _columns(model, rows):
        raws.append(_raw(datatype, data))
        size = {"binary_data_size": len(raws[-1])}
        inputs.append({"name": name, "datatype": datatype, "shape": shape, "parameters": size})
    head = json.dumps({"inputs": inputs}).encode()
    return head + b"".join(raws), len(head)


def _message(model: Model, name: str, rows: Sequence[Row]) -> bytes:
    """Return a gRPC frame: five bytes of prefix, then the message."""
    from modelyard_server.doors.remote import messages

    columns = _columns(model, rows)
    message = messages.ModelInferRequest(
        model_name=name,
        inputs=[{"name": column, "datatype": datatype, "shape": shape} for column, datatype, shape, _ in columns],
        raw_input_contents=[_raw(datatype, data) for _, datatype, _, data in columns],
    ).SerializeToString()
    return struct.pack(">BI", 0, len(message)) + message
