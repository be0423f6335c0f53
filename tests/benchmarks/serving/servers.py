"""Servers of the benchmark: processes of their own, pinned to core 0."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.serving.requests import Request

__all__ = ["CORE", "ROOT", "Process", "modelyard_server", "python_of_the_images"]

ROOT = Path(__file__).resolve().parents[3]
CORE = "0"


def python_of_the_images() -> str:
    """Return Debian's own Python 3.11, which the images have and which is faster than most; else this one."""
    return "/usr/bin/python3.11" if Path("/usr/bin/python3.11").exists() else sys.executable


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A running server."""

    def __init__(
        self,
        command: list[str],
        port: int,
        environment: Mapping[str, str] | None = None,
        *,
        folder: Path | None = None,
        log: Path = Path(os.devnull),
    ) -> None:
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        self.port = port
        self.started = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["taskset", "-c", CORE, *command],
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'serving_image'}:{packages}", **(environment or {})},
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            # what it left behind
            os.killpg(self._process.pid, signal.SIGKILL)

    def await_port(self, port: int, seconds: float = 180.0) -> float:
        """Wait until something listens; return the seconds since the start."""
        while time.perf_counter() - self.started < seconds:
            if self._process.poll() is not None:
                raise SystemExit(f"a server ended: {self._process.args}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return time.perf_counter() - self.started
            time.sleep(0.005)
        raise SystemExit(f"nothing listens on {port} after {seconds} s")

    def await_answer(self, request: Request, seconds: float = 180.0) -> bytes:
        """Ask until there is an answer with status 200."""
        last: object = None
        while time.perf_counter() - self.started < seconds:
            asked = urllib.request.Request(
                f"http://127.0.0.1:{self.port}{request.path}",
                request.body,
                dict(request.headers),
                method=request.method,
            )
            try:
                with urllib.request.urlopen(asked, timeout=10) as answer:
                    return bytes(answer.read())
            except OSError as error:
                last = error
            time.sleep(0.2)
        raise SystemExit(f"no answer after {seconds} s: {last}")

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) * 1024

    @property
    def processor_seconds(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server(Process):
    """A Modelyard server."""

    def __init__(self, name: str, package: Path, options: Mapping[str, Any]) -> None:
        http, self.status, self.grpc = free_port(), free_port(), free_port()
        command = [python_of_the_images(), "-m", "modelyard_server", f"--http-port={http}"]
        command += [f"--status-port={self.status}", f"--grpc-port={self.grpc}"]
        environment = {
            "MODELYARD_MODEL_NAME": name,
            "MODELYARD_PACKAGE_URI": str(package),
            "MODELYARD_OPTIONS": json.dumps(options),
            "MODELYARD_DRAIN_SECONDS": "0",
            "MODELYARD_TERMINATION_LOG": "/dev/null",
        }
        super().__init__(command, http, environment)
        self.await_port(self.status)
        while not self._is_ready():
            time.sleep(0.002)
        self.ready = time.perf_counter() - self.started
        """Seconds from the start of the process to ready."""

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.status}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def modelyard_server(name: str, package: Path, **options: Any) -> Server:
    """Start a server with these options of a manifest, and return it ready."""
    return Server(name, package, options)
