"""Load generators: wrk for HTTP, h2load for gRPC, pinned to a core of their own."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.serving.requests import Request

__all__ = ["CORE", "Load", "measure", "measure_grpc"]

#: The generator's core; the servers have core 0.
CORE = "1"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Load:
    """What a generator saw."""

    connections: int
    rate: float
    """Answers a second."""
    p50: float
    """Seconds."""
    p99: float
    failed: int
    """Answers that were not 2xx, and broken connections."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def measure(port: int, request: Request, connections: int, seconds: float) -> Load:
    """Ask over so many connections, each with one request under way."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder) / "body", Path(folder) / "request.lua"
        body.write_bytes(request.body)
        lines = [f'wrk.method = "{request.method}"', f"wrk.path = [[{request.path}]]"]
        lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items()]
        if request.body:
            lines.append(f'wrk.body = io.open("{body}", "rb"):read("*a")')
        script.write_text("\n".join(lines))
        command = [
            "taskset",
            "-c",
            CORE,
            _tool("wrk"),
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            "30s",
        ]
        address = f"http://127.0.0.1:{port}/"
        text = _run([*command, "--latency", "-s", str(script), address])
    failed = sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    for errors in re.findall(r"Socket errors: (.*)", text):
        failed += sum(map(int, re.findall(r"\d+", errors)))
    [rate] = re.findall(r"Requests/sec:\s+([\d.]+)", text)
    return Load(connections, float(rate), _quantile(text, 50), _quantile(text, 99), failed)


def measure_grpc(port: int, request: Request, connections: int, seconds: float) -> Load:
    """Ask the same over HTTP/2, with one call under way on each connection."""
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(request.body)
        command = [
            "taskset",
            "-c",
            CORE,
            _tool("h2load"),
            f"-c{connections}",
            "-m1",
            "-t1",
            f"-D{max(1, round(seconds))}",
        ]
        command += ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"]
        text = _run([*command, f"http://127.0.0.1:{port}{request.path}"])
    [rate] = re.findall(r"finished in .*?, ([\d.]+) req/s", text)
    [[_, most, mean]] = re.findall(r"time for request:\s+(\S+)\s+(\S+)\s+(\S+)", text)
    [failed] = re.findall(r"(\d+) failed", text)
    # h2load has no quantiles: its mean stands for the median, its largest for the 99th
    return Load(connections, float(rate), _seconds(mean), _seconds(most), int(failed))


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        package = {"wrk": "wrk", "h2load": "nghttp2-client"}[name]
        raise SystemExit(f"{name} is needed: apt-get install {package}")
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[3]} failed: {done.stdout}{done.stderr}")
    return done.stdout


def _quantile(text: str, percent: int) -> float:
    [found] = re.findall(rf"^\s+{percent}%\s+(\S+)\s*$", text, re.MULTILINE)
    return _seconds(found)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    assert found is not None, text
    return float(found[1]) * _UNITS[found[2]]
