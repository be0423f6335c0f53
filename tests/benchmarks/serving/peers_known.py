"""The peers: what is installed, how each is started, how it is asked."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.environments import KSERVE

__all__ = ["HERE", "PEERS", "Peer"]

HERE = Path(__file__).parent / "peers"
#: NVIDIA's wheel has a library for the system's own Python.
_SYSTEM = "/usr/bin/python3"

Columns = dict[str, list[Any]]


def _script(name: str, *before: str, after: tuple[str, ...] = ()) -> Callable[[int, Path], list[str]]:
    return lambda port, _: [str(HERE / name), *before, str(port), *after]


def _mlserver(port: int, place: Path) -> list[str]:
    settings = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "parallel_workers": 0}
    (place / "settings.json").write_text(json.dumps(settings))
    model = {"name": "recommender", "implementation": "mlserver_runtime.Predict"}
    (place / "model-settings.json").write_text(json.dumps(model))
    return ["-m", "mlserver.cli.main", "start", str(place)]


def _v2(*shape: int) -> Callable[[Columns], Any]:
    """Return what makes a request of the Open Inference Protocol, with tensors of this shape."""

    def document(columns: Columns) -> Any:
        kinds = {name: "INT32" if name.startswith("id") else "FP32" for name in columns}
        return {
            "inputs": [
                {"name": name, "shape": list(shape), "datatype": kinds[name], "data": data}
                for name, data in columns.items()
            ]
        }

    return document


@dataclass(frozen=True)
class Peer:
    """One server."""

    label: str
    package: str
    requirements: tuple[str, ...]
    command: Callable[[int, Path], list[str]]
    """What follows `python`, for a port and an empty folder to run in."""
    path: str = "/predict"
    document: Callable[[Columns], Any] = lambda columns: columns
    """The body of a request for columns of encoded features."""
    runtime: str = "tensorflow"
    python: str = sys.executable


_MOSEC = _script("serve_mosec.py", "--port", after=("--address", "127.0.0.1"))
_OIP = "/v2/models/recommender/infer"
_AIOHTTP = ("aiohttp==3.14.5", "uvloop==0.23.0")
PEERS = (
    Peer("aiohttp with LiteRT, 20 lines", "aiohttp", _AIOHTTP, _script("serve_aiohttp.py"), runtime="litert"),
    Peer("mosec", "mosec", ("mosec==0.9.8",), _MOSEC, "/inference"),
    Peer("mosec with LiteRT", "mosec", ("mosec==0.9.8",), _MOSEC, "/inference", runtime="litert"),
    Peer("MLServer", "mlserver", ("mlserver==1.7.1",), _mlserver, _OIP, _v2(1)),
    Peer("KServe", "kserve", KSERVE, _script("serve_kserve.py", "--http_port"), _OIP, _v2(1)),
    Peer(
        "BentoML",
        "bentoml",
        ("bentoml==1.4.40",),
        lambda port, _: ["-m", "bentoml", "serve", "serve_bentoml:Predict", "--port", str(port), "--host", "127.0.0.1"],
        document=lambda columns: {"columns": columns},
    ),
    Peer("LitServe", "litserve", ("litserve==0.2.19",), _script("serve_litserve.py")),
    Peer("Ray Serve", "ray", ("ray[serve]==2.60.0",), _script("serve_ray.py")),
    Peer(
        "PyTriton",
        "pytriton",
        ("nvidia-pytriton==0.7.0",),
        _script("serve_pytriton.py"),
        _OIP,
        _v2(1, 1),
        python=_SYSTEM,
    ),
)
