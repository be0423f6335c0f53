"""One model with every feature type and output kind: all doors and both clients answer the same, to the last bit."""

import base64
import json
import struct
from typing import Any
from urllib.parse import urlencode

import grpc
import numpy as np
import pytest

import modelyard
from modelyard.client import connect, connect_sync
from modelyard.contract.wire import Published
from modelyard_server.doors.remote import messages
from tests.support.attacks import png
from tests.support.everything import columns, row_of
from tests.support.server import Server

V1, V2 = "/v1/models/stays", "/v2/models/stays"
#: Rows whose lists are equally long, since tensors have one shape.
ROWS = [row for row in (row_of(columns(), place) for place in range(200)) if len(row["wishes"]) == 2][:3]
KINDS = {"price": "FP64", "distance": "FP64", "guests": "INT64", "member": "BOOL", "taste": "FP32", "photo": "UINT8"}
DTYPES = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "BOOL": "?", "UINT8": "u1"}


@pytest.fixture(scope="module")
def model(stays: Published) -> Any:
    return modelyard.open(stays.uri)


def tensors(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Any]]:
    """Name, type and shape of each tensor, and its values."""
    found = []
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        found.append(({"name": name, "datatype": KINDS.get(name, "BYTES"), "shape": list(values.shape)}, values))
    return found


def raw(datatype: str, values: Any) -> bytes:
    if datatype == "BYTES":
        texts = [str(text).encode() for text in values.ravel()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return values.astype(DTYPES[datatype]).tobytes()


def bits_of(outputs: dict[str, Any]) -> bytes:
    return b"".join(np.asarray(outputs[name], "<f4").tobytes() for name in ("click", "nights", "themes", "vector"))


def bits_of_answers(answers: list[Any]) -> bytes:
    columns: dict[str, Any] = {name: [answer[name] for answer in answers] for name in answers[0]}
    columns["themes"] = [list(tags.values()) for tags in columns["themes"]]
    return bits_of(columns)


def jsonable(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its picture as a file."""
    return {**row, "photo": {"b64": base64.b64encode(png_of(row["photo"])).decode()}}


def png_of(pixels: Any) -> bytes:
    return png(16, 16, np.array(pixels, np.uint8).tobytes())


@pytest.mark.parametrize("count", [1, 3])
def test_json_doors(stays_server: Server, model: Any, count: int):
    rows = ROWS[:count]
    expected = model.predict_many(rows) if count > 1 else [model.predict(rows[0])]
    asked = [jsonable(row) for row in rows]
    answers = stays_server.ask(f"{V1}:predict", {"instances": asked})[1]["predictions"]
    assert answers == expected
    outputs = stays_server.ask(f"{V1}:predict", {"inputs": {name: [row[name] for row in asked] for name in asked[0]}})[
        1
    ]
    assert [{name: outputs["outputs"][name][place] for name in expected[0]} for place in range(count)] == expected
    examples = {"examples": asked}
    classified = stays_server.ask(f"{V1}:classify", examples)[1]["result"]
    assert [dict(map(tuple, pairs)) for pairs in classified] == [answer["themes"] for answer in expected]
    assert stays_server.ask(f"{V1}:regress", examples)[1]["results"] == [answer["nights"] for answer in expected]
    inputs = [{**tensor, "data": values.ravel().tolist()} for tensor, values in tensors(rows)]
    found = stays_server.ask(f"{V2}/infer", {"inputs": inputs})[1]["outputs"]
    assert bits_of({output["name"]: output["data"] for output in found}) == bits_of_answers(expected)


@pytest.mark.parametrize("count", [1, 3])
def test_binary_doors(stays_server: Server, model: Any, count: int):
    rows = ROWS[:count]
    expected = bits_of_answers(model.predict_many(rows) if count > 1 else [model.predict(rows[0])])
    parts = [(tensor, raw(tensor["datatype"], values)) for tensor, values in tensors(rows)]
    inputs = [{**tensor, "parameters": {"binary_data_size": len(data)}} for tensor, data in parts]
    head = json.dumps({"inputs": inputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    found = stays_server.ask(f"{V2}/infer", head + b"".join(data for _, data in parts), headers=headers)[1]["outputs"]
    assert bits_of({output["name"]: output["data"] for output in found}) == expected
    request = messages.ModelInferRequest(
        model_name="stays", inputs=[tensor for tensor, _ in parts], raw_input_contents=[data for _, data in parts]
    )
    with grpc.insecure_channel(f"127.0.0.1:{stays_server.grpc}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        answered = infer(request, timeout=10)
    assert [output.name for output in answered.outputs] == ["click", "nights", "themes", "vector"]
    assert b"".join(answered.raw_output_contents) == expected


def test_query_parameters(stays_server: Server, model: Any):
    row = ROWS[0]
    told = {**row, "member": str(row["member"]).lower(), "taste": ",".join(map(str, np.ravel(row["taste"])))}
    told["photo"] = base64.urlsafe_b64encode(png_of(row["photo"])).decode()
    answer = stays_server.ask(f"{V1}:predict?{urlencode(told, doseq=True)}")[1]
    assert answer["predictions"] == [model.predict(row)]


async def test_clients_served_and_embedded(stays_server: Server, stays: Published, model: Any):
    expected = model.predict_many(ROWS)
    for address, name in ((f"http://127.0.0.1:{stays_server.http}", "stays"), (stays.uri, None)):
        async with connect(address, name) as client:
            assert await client.predict_many(ROWS) == expected
            assert await client.predict(ROWS[0]) == expected[0]


def test_synchronous_clients_served_and_embedded(stays_server: Server, stays: Published, model: Any):
    for address, name in ((f"http://127.0.0.1:{stays_server.http}", "stays"), (stays.uri, None)):
        with connect_sync(address, name) as client:
            assert client.predict_many(ROWS) == model.predict_many(ROWS)
