"""The server as a process: every door, wrong requests by name, health, and an end that loses no request."""

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modelyard
from modelyard.contract.wire import Published, ServingSummary
from tests.support.kubectl import ROOT
from tests.support.packages import SAMPLES, copy_package
from tests.support.server import Server


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"), published.uri, published.digest).await_ready()
    yield running
    assert running.end() == 0


@pytest.fixture(scope="module")
def expected(published: Published) -> list[Any]:
    return modelyard.open(published.uri).predict_many(SAMPLES)


def same(answer: Any, expected: Any) -> bool:
    return answer["click"] == pytest.approx(expected["click"], abs=1e-6) and answer["tags"] == pytest.approx(
        expected["tags"], abs=1e-6
    )


def test_get_with_features_as_query_parameters(server: Server, expected: list[Any]):
    path = "/v1/models/clicks:predict?price=80&country=de"
    status, answer, headers = server.ask(path)
    assert status == 200
    assert same(answer["predictions"][0], expected[0])
    assert headers["x-modelyard-version"] == "clicks-1-7"
    assert server.ask(path, headers={"If-None-Match": headers["ETag"]})[0] == 304


def test_tensorflow_serving_rows_and_columns(server: Server, expected: list[Any]):
    status, answer, _ = server.ask("/v1/models/clicks:predict", {"instances": SAMPLES})
    assert status == 200
    assert all(same(one, other) for one, other in zip(answer["predictions"], expected, strict=True))
    columns = {"price": [80, 10], "country": ["de", "nl"]}
    status, answer, _ = server.ask("/v1/models/clicks/versions/clicks-1-7:predict", {"inputs": columns})
    assert status == 200
    assert answer["outputs"]["click"] == pytest.approx([row["click"] for row in expected], abs=1e-6)
    status, answer, _ = server.ask("/v1/models/clicks")
    assert answer["model_version_status"][0]["state"] == "AVAILABLE"
    assert server.ask("/v1/models/clicks/metadata")[1]["metadata"]["metrics"] == {"auc": 0.9}


def test_open_inference_v2(server: Server, expected: list[Any]):
    inputs = [
        {"name": "price", "shape": [2], "datatype": "FP64", "data": [80, 10]},
        {"name": "country", "shape": [2, 1], "datatype": "BYTES", "data": [["de"], ["nl"]]},
    ]
    status, answer, _ = server.ask("/v2/models/clicks/infer", {"id": "7", "inputs": inputs})
    assert status == 200
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert answer["id"] == "7"
    assert outputs["click"]["data"] == pytest.approx([row["click"] for row in expected], abs=1e-6)
    assert outputs["tags"]["shape"] == [2, 3]
    metadata = server.ask("/v2/models/clicks")[1]
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["price", "country"]
    assert server.ask("/v2/models/clicks/ready")[0] == server.ask("/v2/health/ready")[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (":predict", None, 400, "price: missing"),
        (":predict?price=cheap", None, 400, "price"),
        (":predict?price=1&colour=red", None, 400, "colour: no such feature"),
        (":predict?prise=1", None, 400, "did you mean price?"),
        (":predict", {"instances": [{"price": "cheap"}]}, 400, "price"),
        (":predict", {"instances": [{"price": 1}], "inputs": {}}, 400, "either"),
        (":predict", {"instances": {"price": 1}}, 400, "list"),
        (":predict", {"instances": []}, 400, "instances"),
        (":predict", {"inputs": {"price": [1, 2], "country": ["nl"]}}, 400, "lengths"),
        (":predict", {"instances": [{"price": 1}] * 5000}, 413, "4096"),
        (":predict", b"{", 400, "JSON"),
        (":predict", b"[" * 100_000, 400, "JSON"),
        (":predict", b'{"instances": [{"price": NaN}]}', 400, "price"),
        (":predict", b"x" * (33 << 20), 413, "larger than"),
        ("/versions/2:predict?price=1", None, 404, "2"),
    ],
)
def test_a_wrong_request_is_refused_in_words(server: Server, path: str, body: Any, status: int, words: str):
    answer = server.ask(f"/v1/models/clicks{path}", body)
    assert answer[0] == status, answer
    assert words in answer[1]["error"], answer


def test_another_model_and_wrong_tensors_are_refused(server: Server):
    assert server.ask("/v1/models/other:predict?price=1")[0] == 404
    for tensor in ({"name": "price"}, {"name": "price", "shape": [2], "datatype": "FP64", "data": [1]}):
        status, answer, _ = server.ask("/v2/models/clicks/infer", {"inputs": [tensor]})
        assert (status, "input" in answer["error"] or "price" in answer["error"]) == (400, True)


def test_the_summary_and_the_metrics_tell_the_same(server: Server):
    before = ServingSummary.model_validate(server.ask("/summary", port=server.status)[1])
    server.ask("/v1/models/clicks:predict?price=1")
    server.ask("/v1/models/clicks:predict")
    after = ServingSummary.model_validate(server.ask("/summary", port=server.status)[1])
    assert (after.requests - before.requests, after.refused - before.refused, after.errors) == (2, 1, 0)
    assert after.latency["+Inf"] == after.requests
    assert {"price", "country"} <= set(after.features)
    metrics = server.ask("/metrics", port=server.status)[1]
    assert 'model_name="clicks"' in metrics
    assert 'model_version="clicks-1-7"' in metrics


def test_no_request_is_lost_while_a_server_ends(published: Published, tmp_path: Path):
    server = Server(tmp_path, published.uri, drain=1.0).await_ready()
    outcomes: list[int] = []
    closing = threading.Event()

    def ask() -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.http, timeout=10)) as connection:
            while not closing.is_set():
                connection.request("GET", "/v1/models/clicks:predict?price=1")
                answer = connection.getresponse()
                answer.read()
                outcomes.append(answer.status)
                if answer.headers.get("Connection") == "close":
                    closing.set()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.3)
    assert server.end() == 0
    for client in clients:
        client.join()
    assert set(outcomes) == {200}
    assert closing.is_set()


@pytest.mark.parametrize("damage", ["byte", "digest", "missing"])
def test_a_broken_package_is_never_served_and_the_reason_is_left(
    package: Path, published: Published, tmp_path: Path, damage: str
):
    folder = copy_package(package, tmp_path / "copy")
    digest = published.digest
    if damage == "byte":
        data = bytearray((folder / "model.tflite").read_bytes())
        data[100] ^= 1
        (folder / "model.tflite").write_bytes(data)
    if damage == "digest":
        digest = f"sha256:{0:064x}"
    if damage == "missing":
        (folder / "manifest.json").unlink()
    server = Server(tmp_path, str(folder), digest)
    assert server.process.wait(timeout=30) == 1, server.output.read_text()
    words = {"byte": "model.tflite", "digest": "expected sha256:000", "missing": "there is no package"}[damage]
    assert words in server.log.read_text()


def test_a_missing_variable_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "modelyard_server"],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'serving_image'}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "MODELYARD_MODEL_NAME" in done.stderr
