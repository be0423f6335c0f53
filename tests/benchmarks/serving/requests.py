"""What is asked: the same instances through every door."""

import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from modelyard.contract.package import CategoryFeature, ImageFeature
from modelyard.model.opening import Model

__all__ = ["Request", "requests_for"]

Row = Mapping[str, Any]
#: Name, datatype, shape and data of each tensor.
Columns = list[tuple[str, str, list[int], Any]]


@dataclass(frozen=True)
class Request:
    """One HTTP request, sent again and again."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def requests_for(model: Model, name: str, instances: int) -> dict[str, Request]:
    """Return a request by door, of those that fit the features: `get`, `v1`, `v2`, `v2-binary`, `v2-jpeg`, `grpc`."""
    rows = [model.samples[number % len(model.samples)].request for number in range(instances)]
    json_headers = {"Content-Type": "application/json"}
    v1, v2 = f"/v1/models/{name}:predict", f"/v2/models/{name}/infer"
    found = {
        "v2-binary": _binary_request(v2, _columns(model, rows)),
        "grpc": Request("POST", "/inference.GRPCInferenceService/ModelInfer", _message(model, name, rows)),
    }
    pictures = [feature for feature in model.features.features if isinstance(feature, ImageFeature)]
    if pictures:
        [feature] = pictures
        files = [_photograph(feature.height, feature.width)] * instances
        found["v2-jpeg"] = _binary_request(v2, [(feature.name, "BYTES", [instances], files)])
    else:
        found["v1"] = Request("POST", v1, json.dumps({"instances": rows}).encode(), json_headers)
        found["v2"] = Request("POST", v2, json.dumps({"inputs": _tensors(model, rows)}).encode(), json_headers)
        if instances == 1:
            found["get"] = Request("GET", f"{v1}?{urlencode(rows[0])}")
    return found


def _columns(model: Model, rows: Sequence[Row]) -> Columns:
    columns: Columns = []
    for feature in model.features.features:
        values = [row[feature.name] for row in rows]
        if isinstance(feature, CategoryFeature):
            columns.append((feature.name, "BYTES", [len(rows)], values))
        elif isinstance(feature, ImageFeature):
            shape = [len(rows), feature.height, feature.width, feature.channels]
            columns.append((feature.name, "UINT8", shape, np.array(values, np.uint8)))
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
        elements = [element.encode() if isinstance(element, str) else element for element in data]
        return b"".join(struct.pack("<I", len(element)) + element for element in elements)
    return np.asarray(data, {"FP64": "<f8", "UINT8": "u1"}[datatype]).tobytes()


def _photograph(height: int, width: int) -> bytes:
    """Return a JPEG file as large as a photograph of this size: smooth, with some noise."""
    random = np.random.default_rng(1)
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    noisy = np.clip(smooth + random.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85)
    return file.getvalue()


def _binary_request(path: str, columns: Columns) -> Request:
    raws, inputs = [], []
    for name, datatype, shape, data in columns:
        raws.append(_raw(datatype, data))
        size = {"binary_data_size": len(raws[-1])}
        inputs.append({"name": name, "datatype": datatype, "shape": shape, "parameters": size})
    head = json.dumps({"inputs": inputs}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Request("POST", path, head + b"".join(raws), headers)


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
