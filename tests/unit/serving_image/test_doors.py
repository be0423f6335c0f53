"""Every door gives the same answer to the same question, and says in its own words what is wrong with a wrong one."""

import base64
import io
import json
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from multidict import CIMultiDict
from PIL import Image

import modelyard
from modelyard.contract.options import Cache, ServingOptions
from modelyard.contract.package import ImageFeature
from modelyard.contract.wire import Published
from modelyard.model.encoders import encoder_for
from modelyard_server.asking import Ask, Reply
from modelyard_server.core import Core
from modelyard_server.doors import tensorflow
from modelyard_server.doors.remote import messages, start_remote
from modelyard_server.doors.routing import Doors
from modelyard_server.loading import build_core, load_model
from modelyard_server.settings import ServerSettings
from tests.support.packages import SAMPLES

V1, V2 = "/v1/models/clicks", "/v2/models/clicks"


async def core_of(published: Published, **options: Any) -> Core:
    settings = ServerSettings("clicks", published.uri, "clicks-1-7", options=ServingOptions(**options))
    return await build_core(load_model(settings, lambda _: None), settings)


class Asking:
    """Asks doors without a transport."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.doors = Doors(core, time.perf_counter)

    async def raw(self, target: str, body: Any = None, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        path, _, query = target.partition("?")
        named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
        method = "GET" if body is None else "POST"
        return await self.doors.answer(Ask(method, path, query, named, data, time.perf_counter()))

    async def __call__(self, target: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        reply = await self.raw(target, body, **headers)
        return reply.status, json.loads(reply.body) if reply.body else None


@pytest.fixture
async def ask(published: Published) -> Asking:
    return Asking(await core_of(published))


def tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = {"price": ("FP64", [row["price"] for row in rows])}
    columns["country"] = ("BYTES", [row.get("country", "nl") for row in rows])
    return [
        {"name": name, "datatype": datatype, "shape": [len(rows)], "data": data}
        for name, (datatype, data) in columns.items()
    ]


def binary(rows: list[dict[str, Any]], **more: Any) -> tuple[bytes, str]:
    texts = [row.get("country", "nl").encode() for row in rows]
    raws = [
        np.array([row["price"] for row in rows], "<f8").tobytes(),
        b"".join(struct.pack("<I", len(text)) + text for text in texts),
    ]
    inputs = tensors(rows)
    for tensor, raw in zip(inputs, raws, strict=True):
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + b"".join(raws), str(len(head))


def flat(answers: list[Any]) -> list[list[float]]:
    return [[answer["click"], *answer["tags"].values()] for answer in answers]


def of_tensors(outputs: list[Any]) -> list[list[float]]:
    found = {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}
    return np.concatenate([found["click"].reshape(-1, 1), found["tags"]], axis=1).tolist()


@pytest.mark.parametrize("count", [1, 2])
async def test_every_door_gives_the_same_answer_to_the_last_bit(ask: Asking, published: Published, count: int):
    rows = SAMPLES[:count]
    expected = flat(modelyard.open(published.uri).predict_many(rows))
    status, answer = await ask(f"{V1}:predict", {"instances": rows})
    assert (status, flat(answer["predictions"])) == (200, expected)
    _, answer = await ask(
        f"{V1}:predict", {"inputs": {"price": [row["price"] for row in rows], "country": ["de", "nl"][:count]}}
    )
    outputs = answer["outputs"]
    assert [[c, *t.values()] for c, t in zip(outputs["click"], outputs["tags"], strict=True)] == expected
    _, answer = await ask(f"{V2}/infer", {"inputs": tensors(rows)})
    assert of_tensors(answer["outputs"]) == expected
    body, length = binary(rows)
    _, answer = await ask(f"{V2}/infer", body, Inference_Header_Content_Length=length)
    assert of_tensors(answer["outputs"]) == expected
    _, answer = await ask(f"{V1}:classify", {"examples": rows})
    assert [[score for _, score in row] for row in answer["result"]] == [row[1:] for row in expected]
    _, answer = await ask(f"{V1}:regress", {"examples": rows})
    assert answer["results"] == [row[0] for row in expected]
    if count == 1:
        _, answer = await ask(f"{V1}:predict?price=80.0&country=de")
        assert flat(answer["predictions"]) == expected


async def test_outputs_are_raw_bytes_where_that_was_asked_for(ask: Asking):
    body, length = binary(SAMPLES, parameters={"binary_data_output": True}, id="9")
    reply = await ask.raw(f"{V2}/infer", body, Inference_Header_Content_Length=length)
    assert reply.content_type == "application/octet-stream"
    size = int(reply.headers["Inference-Header-Content-Length"])
    head = json.loads(reply.body[:size])
    sizes = [output["parameters"]["binary_data_size"] for output in head["outputs"]]
    assert (head["id"], sizes, len(reply.body)) == ("9", [8, 24], size + 32)
    listed = (await ask(f"{V2}/infer", {"inputs": tensors(SAMPLES)}))[1]["outputs"]
    raw = np.frombuffer(reply.body[size:], "<f4")
    expected = np.array([*listed[0]["data"], *listed[1]["data"]], "f4")
    assert raw.tobytes() == expected.tobytes()
    _, answer = await ask(f"{V2}/infer", {"inputs": tensors(SAMPLES), "outputs": [{"name": "tags"}]})
    assert [output["name"] for output in answer["outputs"]] == ["tags"]
    assert answer["outputs"][0]["parameters"] == {"labels": "animal,dog,car"}


async def test_examples_share_a_context_and_may_be_lists_of_one(ask: Asking):
    plain = (await ask(f"{V1}:regress", {"examples": [{"price": 80, "country": "de"}]}))[1]
    shared = (await ask(f"{V1}:regress", {"context": {"country": "de"}, "examples": [{"price": [80]}]}))[1]
    assert plain == shared
    classified = (await ask(f"{V1}:classify", {"examples": [{"price": 80}]}))[1]["result"]
    assert [label for label, _ in classified[0]] == ["animal", "dog", "car"]


@pytest.mark.parametrize(
    ("target", "body", "status", "words"),
    [
        (f"{V1}:classify", {"examples": "x"}, 400, "examples"),
        (f"{V1}:classify", {"examples": [1]}, 400, "each of `examples`"),
        (f"{V1}:predict", {"instances": [{"price": {"a": 1}}]}, 400, "price: an object is no value"),
        (f"{V1}:predict", {"instances": [{"price": {"b64": "!"}}]}, 400, "price: no base64"),
        (f"{V1}:predict", {"instances": [1]}, 400, "each of `instances`"),
        (f"{V1}:predict", {"signature_name": "other", "instances": [{}]}, 400, "signature_name"),
        (f"{V1}/labels/latest:predict?price=x", None, 400, "price: 'x'"),
        (f"{V1}/labels/old:predict?price=1", None, 404, "Specific(clicks, old)"),
        ("/v1/models/half:predict?price=1", None, 404, "Latest(half)"),
        ("/nothing", None, 404, "/openapi.json"),
        (f"{V1}:regress", None, 405, "only POST"),
        (f"{V2}/infer", {"inputs": {}}, 400, "`inputs`"),
        (f"{V2}/infer", {"inputs": [1]}, 400, "each of `inputs`"),
        (f"{V2}/infer", {"inputs": [{"name": "price", "shape": [-1], "data": [1]}]}, 400, "price: `shape`"),
        (f"{V2}/infer", {"inputs": [{"name": "price", "shape": [1 << 40], "data": [1]}]}, 400, "price: `shape`"),
        (f"{V2}/infer", {"inputs": [{"name": "price", "shape": [2, 2], "data": [1]}]}, 400, "price: `data` has 1"),
        (f"{V2}/infer", {"inputs": [{"name": "price", "shape": [2], "data": [[1], 2]}]}, 400, "unevenly"),
        (f"{V2}/infer", {"inputs": [{"shape": [1], "data": [1]}]}, 400, "`name`"),
        (f"{V2}/infer", {"inputs": tensors(SAMPLES) * 2}, 400, "given twice"),
        (f"{V2}/infer", {"inputs": tensors(SAMPLES), "outputs": [{"name": "x"}]}, 400, "output 'x'"),
    ],
)
async def test_what_is_wrong_is_said(ask: Asking, target: str, body: Any, status: int, words: str):
    found, answer = await ask(target, body)
    assert (found, words in answer["error"]) == (status, True), answer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body, length: (body, "x"), "Inference-Header-Content-Length"),
        (lambda body, length: (body, "99999"), "Inference-Header-Content-Length"),
        (lambda body, length: (body, str(int(length) - 1)), "JSON"),
        (lambda body, length: (body[:-1], length), "`binary_data_size`"),
        (lambda body, length: (body + b"x", length), "1 bytes follow"),
        (lambda body, length: (body.replace(b'"FP64"', b'"FP32"'), length), "price: 16 bytes of data"),
        (lambda body, length: (body.replace(b'"FP64"', b'"FP99"'), length), "'FP99' is none of"),
        (lambda body, length: (body.replace(b"\x02\x00\x00\x00de", b"\x09\x00\x00\x00de"), length), "BYTES elements"),
        (lambda body, length: (body.replace(b"\x02\x00\x00\x00de", b"\x02\x00\x00\x00\xff\xff"), length), "UTF-8"),
    ],
)
async def test_damaged_binary_tensors_are_refused(ask: Asking, change: Any, words: str):
    body, length = change(*binary(SAMPLES))
    status, answer = await ask(f"{V2}/infer", body, Inference_Header_Content_Length=length)
    assert (status, words in answer["error"]) == (400, True), answer


async def test_timing_and_version_are_told_and_a_deadline_is_kept(ask: Asking):
    reply = await ask.raw(f"{V1}:predict?price=1")
    assert [part.split(";")[0] for part in reply.headers["Server-Timing"].split(", ")] == [
        "queue",
        "encode",
        "compute",
        "rest",
    ]
    assert reply.headers["x-modelyard-version"] == "clicks-1-7"
    status, answer = await ask(f"{V1}:predict", {"instances": SAMPLES * 1000}, x_modelyard_deadline_ms="0.001")
    assert (status, "in time" in answer["error"]) == (503, True)
    status, answer = await ask(f"{V1}:predict", {"instances": SAMPLES * 1000}, x_modelyard_deadline_ms="soon")
    assert (status, "x-modelyard-deadline-ms" in answer["error"]) == (400, True)


async def test_answers_come_out_of_the_cache_by_exact_features(published: Published):
    ask = Asking(await core_of(published, cache=Cache(entries=2, max_age_seconds=60)))
    first = await ask.raw(f"{V1}:predict?price=80&country=de")
    assert first.headers["Cache-Control"] == "public, max-age=60"
    again = await ask(f"{V2}/infer", {"inputs": tensors(SAMPLES[:1])})
    assert again[0] == 200
    for price in (1, 2, 80):
        await ask(f"{V1}:predict?price={price}&country=de")
    memory = ask.core.memory
    assert (memory.cache_hits, memory.misses) == (1, 4)
    assert b"modelyard_cache_hits_total" in ask.core.metrics()


async def test_the_document_describes_the_model_and_the_page_shows_it(ask: Asking):
    _, document = await ask("/openapi.json")
    instance = document["components"]["schemas"]["Instance"]
    assert instance["required"] == ["price"]
    assert instance["properties"]["country"]["default"] == "nl"
    assert [parameter["name"] for parameter in document["paths"][f"{V1}:predict"]["get"]["parameters"]][:2] == [
        "price",
        "country",
    ]
    page = await ask.raw("/")
    assert page.content_type.startswith("text/html")
    assert b"<title>clicks</title>" in page.body
    assert b"http://" not in page.body
    assert b"https://" not in page.body
    assert "'unsafe" not in page.headers["Content-Security-Policy"]
    data = page.body.partition(b'type="application/json">')[2].partition(b"</script>")[0]
    assert json.loads(data)["metrics"] == {"auc": 0.9}
    assert (await ask("/", accept="*/*"))[1]["status"] == "alive"


async def test_what_is_asked_is_told_beside_the_baseline(ask: Asking):
    for price in (1, 99):
        await ask(f"{V1}:predict?price={price}")
    _, told = await ask("/distributions.json")
    assert sum(told["features"]["price"]["counts"]) == 2
    assert told["features"]["price"]["counts"][0] == told["features"]["price"]["counts"][-1] == 1
    assert set(told["predictions"]) == {"click", "tags.animal", "tags.dog", "tags.car"}
    assert told["features"]["price"]["psi"] > 1


def picture() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(stream, "PNG")
    return stream.getvalue()


def test_base64_is_decoded_where_tensorflow_serving_has_it():
    content = picture()
    row = {"photo": {"b64": base64.b64encode(content).decode()}}
    tensorflow._decode(row)
    encoder = encoder_for(ImageFeature(name="photo", height=4, width=4))
    assert encoder.encode([row["photo"]])["photo"].ravel().tolist() == list(range(48))


@pytest.fixture
async def channel(published: Published) -> AsyncIterator[grpc.aio.Channel]:
    core = await core_of(published)
    server = await start_remote(core, 0, None, tls=None, host="127.0.0.1")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    await server.stop(0)


def call(channel: grpc.aio.Channel, method: str, **fields: Any) -> Any:
    request = getattr(messages, f"{method}Request")
    invoke = channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=getattr(messages, f"{method}Response").FromString,
    )
    return invoke(request(**fields), timeout=5)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("raw", [False, True])
async def test_the_remote_door_gives_the_same_answer(
    channel: grpc.aio.Channel, published: Published, count: int, raw: bool
):
    rows = SAMPLES[:count]
    prices, texts = [row["price"] for row in rows], [row.get("country", "nl").encode() for row in rows]
    inputs: list[Any] = [{"name": "price", "datatype": "FP64", "shape": [count]}]
    inputs.append({"name": "country", "datatype": "BYTES", "shape": [count, 1]})
    contents: list[bytes] = []
    if raw:
        contents = [np.array(prices, "<f8").tobytes(), b"".join(struct.pack("<I", 2) + text for text in texts)]
    else:
        inputs[0]["contents"] = {"fp64_contents": prices}
        inputs[1]["contents"] = {"bytes_contents": texts}
    answer = await call(channel, "ModelInfer", model_name="clicks", id="5", inputs=inputs, raw_input_contents=contents)
    found = [np.frombuffer(part, "<f4") for part in answer.raw_output_contents]
    expected = np.array(flat(modelyard.open(published.uri).predict_many(rows)), "f4")
    assert answer.id == "5"
    assert np.concatenate([found[0].reshape(-1, 1), found[1].reshape(-1, 3)], axis=1).tobytes() == expected.tobytes()
    assert [list(output.shape) for output in answer.outputs] == [[count], [count, 3]]


async def test_the_remote_door_describes_itself_and_refuses_with_statuses(channel: grpc.aio.Channel):
    assert (await call(channel, "ServerLive")).live
    assert (await call(channel, "ServerReady")).ready
    assert (await call(channel, "ModelReady", name="clicks", version="clicks-1-7")).ready
    assert list((await call(channel, "ServerMetadata")).extensions) == ["binary_tensor_data"]
    described = await call(channel, "ModelMetadata", name="clicks")
    assert [tensor.name for tensor in described.inputs] == ["price", "country"]
    bad = [{"name": "price", "datatype": "FP64", "shape": [1], "contents": {"fp64_contents": [-1.0]}}]
    for fields, code in (
        ({"model_name": "other"}, grpc.StatusCode.NOT_FOUND),
        ({"model_name": "clicks", "inputs": bad}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"model_name": "clicks", "inputs": bad, "raw_input_contents": [b"", b""]}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"model_name": "clicks"}, grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, "ModelInfer", **fields)
        assert refused.value.code() is code
        assert refused.value.details()
