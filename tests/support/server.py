"""A real serving process on ports of its own."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.kubectl import ROOT


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Server:
    """A serving process."""

    def __init__(self, folder: Path, uri: str, digest: str = "", *, drain: float = 0.2, **more: str) -> None:
        self.http, self.status, self.grpc = free_ports(3)
        self.log = folder / "termination"
        self.output = folder / f"output-{self.http}"
        """What the process prints: a file, since a full pipe would stop it."""
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'serving_image'}",
            "MODELYARD_MODEL_NAME": "clicks",
            "MODELYARD_MODEL_VERSION": "clicks-1-7",
            "MODELYARD_PACKAGE_URI": uri,
            "MODELYARD_PACKAGE_DIGEST": digest,
            "MODELYARD_DRAIN_SECONDS": str(drain),
            "MODELYARD_TERMINATION_LOG": str(self.log),
            **more,
        }
        ports = [f"--http-port={self.http}", f"--status-port={self.status}", f"--grpc-port={self.grpc}"]
        command = [sys.executable, "-m", "modelyard_server", *ports]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)

    def await_ready(self) -> "Server":
        for _ in range(300):
            if self.ask("/readyz", port=self.status)[0] == 200:
                return self
            time.sleep(0.05)
        raise AssertionError(self.output.read_text() if self.process.poll() is not None else "never ready")

    def ask(
        self, path: str, body: Any = None, *, port: int = 0, headers: Any = None, scheme: str = "http"
    ) -> tuple[int, Any, Any]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{port or self.http}{path}", data, headers or {})
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(request, timeout=10, context=trusting) as answer:
                status, text, told = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                status, text, told = error.code, error.read(), error.headers
        except OSError:
            return 0, None, {}
        try:
            return status, json.loads(text), told
        except ValueError:
            return status, text.decode(), told

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)
