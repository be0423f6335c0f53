"""Other people's clients and a fuzzer of OpenAPI documents, unchanged, against a real server."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelyard
from modelyard.contract.wire import Published
from tests.support.kubectl import ROOT
from tests.support.packages import SAMPLES, publish_small
from tests.support.server import Server

SUPPORT = ROOT / "tests/support"


@pytest.fixture(scope="module")
def clients() -> Path:
    """The Python of an environment that has the clients; made once, from pinned versions."""
    pins = SUPPORT / "real_clients.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelyard" / "test-tools"
    folder = cache / f"real-clients-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin/python"
    if not (folder / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, "--requirement", str(pins)], check=True)
        (folder / ".installed").touch()
    return python


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish_small(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"), published.uri, published.digest).await_ready()
    yield running
    assert running.end() == 0


def test_tritonclient_asks_over_http_and_grpc(clients: Path, server: Server, published: Published):
    command = [str(clients), str(SUPPORT / "real_clients.py"), str(server.http), str(server.grpc)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = [answer["click"] for answer in modelyard.open(published.uri).predict_many(SAMPLES)]
    assert json.loads(done.stdout) == {"http": expected, "grpc": expected, "health": "SERVING"}


def test_the_openapi_document_is_fuzzed_without_an_internal_error(clients: Path, server: Server):
    url = f"http://127.0.0.1:{server.http}"
    command = [str(clients.with_name("schemathesis")), "run", f"{url}/openapi.json", "--url", url]
    command += ["--checks", "not_a_server_error", "--max-examples", "100", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert server.ask("/summary", port=server.status)[1]["errors"] == 0
