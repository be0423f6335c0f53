"""Other people's clients and a fuzzer of OpenAPI documents, unchanged, against a real server."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import modelyard
from modelyard.contract.wire import Published
from tests.support.environments import KSERVE, environment
from tests.support.kubectl import ROOT
from tests.support.packages import SAMPLES
from tests.support.server import Server

SUPPORT = ROOT / "tests/support"


@pytest.fixture(scope="module")
def clients() -> Path:
    """The Python of an environment that has the clients."""
    return environment("real-clients", (SUPPORT / "real_clients.txt").read_text().split(), whole=True)


def answers_of(python: Path, script: str, server: Server) -> dict[str, Any]:
    """What a script of clients prints when it asks the server."""
    command = [str(python), str(SUPPORT / script), str(server.http), str(server.grpc)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def clicks_of(published: Published) -> list[float]:
    return [answer["click"] for answer in modelyard.open(published.uri).predict_many(SAMPLES)]


def test_tritonclient_and_tensorflow_servings_clients_ask(clients: Path, server: Server, published: Published):
    answers = answers_of(clients, "real_clients.py", server)
    assert answers.pop("health") == "SERVING"
    assert answers == dict.fromkeys(("http", "grpc", "rows", "columns", "regress"), clicks_of(published))


def test_kserves_own_clients_ask(server: Server, published: Published):
    answers = answers_of(environment("kserve", KSERVE), "kserve_client.py", server)
    doors = ("v1", "v2 JSON", "v2 binary", "gRPC", "gRPC raw")
    assert answers == dict.fromkeys(doors, clicks_of(published))


def test_the_openapi_document_is_fuzzed_without_an_internal_error(clients: Path, server: Server):
    url = f"http://127.0.0.1:{server.http}"
    command = [str(clients.with_name("schemathesis")), "run", f"{url}/openapi.json", "--url", url]
    command += ["--checks", "not_a_server_error", "--max-examples", "100", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert server.ask("/summary", port=server.status)[1]["errors"] == 0
