"""`make bench-peers`: other servers with the same model, beside ours, in one run.

Each peer has an environment of its own below build/benchmarks/peers, made when it is missing; TensorFlow comes from
the development environment. Peers get encoded features, so that they have less to do; every server has core 0, the
load generator core 1.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import modelyard
from tests.benchmarks.serving.load import Load, measure
from tests.benchmarks.serving.models import packages
from tests.benchmarks.serving.peers_known import PEERS, Peer
from tests.benchmarks.serving.requests import Request, requests_for
from tests.benchmarks.serving.servers import ROOT, Process, free_port, modelyard_server

CONNECTIONS = (1, 8, 32)
FOLDER = ROOT / "build/benchmarks"
HERE = Path(__file__).parent / "peers"


def environment_of(peer: Peer) -> Path:
    """Return the Python of a peer's environment, made if there is none."""
    folder = FOLDER / "peers" / peer.package
    python = folder / "bin/python"
    if not (folder / ".installed").exists():
        print(f"  installing {peer.package}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
        subprocess.run(install, check=True)
        (folder / ".installed").touch()
    return python


def columns_of(package: Path) -> dict[str, list[Any]]:
    """Return one encoded instance as JSON columns."""
    model = modelyard.open(package)
    row = model.encoder.encode([model.samples[0].request])
    return {name: values.tolist() for name, values in row.items()}


def request_of(peer: Peer, columns: dict[str, list[Any]]) -> Request:
    """Return the request that a peer understands."""
    document: Any = columns
    if peer.speaks_v2:
        document = {
            "inputs": [
                {"name": name, "shape": [1], "datatype": "INT32" if name.startswith("id") else "FP32", "data": data}
                for name, data in columns.items()
            ]
        }
    return Request("POST", peer.path, json.dumps(document).encode(), {"Content-Type": "application/json"})


def best_of(peer: Peer, package: Path, seconds: float) -> list[Load]:
    """Run a peer and return what was seen over each number of connections."""
    python, port = environment_of(peer), free_port()
    packages_of_tensorflow = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {
        **os.environ,
        "PACKAGE": str(package.resolve()),
        "RUNTIME": peer.runtime,
        # the peer's own packages come first
        "PYTHONPATH": f"{HERE}:{python.parent.parent}/lib/python3.11/site-packages:{packages_of_tensorflow}",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    request = request_of(peer, columns_of(package))
    with (
        peer.prepared(FOLDER / "peers", port) as (command, folder),
        Process([str(python), *command], port, environment, folder=folder) as server,
    ):
        server.await_port(port)
        server.await_answer(request)
        return [measure(port, request, connections, seconds) for connections in CONNECTIONS]


def main() -> None:
    """Measure ours and each peer, print ratios, write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--peer", choices=[peer.label for peer in PEERS], action="append", help="only these")
    arguments = parser.parse_args()
    package = packages(FOLDER / "packages")["recommender"]
    ours_request = requests_for(modelyard.open(package), "recommender", 1)["v2"]
    found: dict[str, Any] = {}
    with modelyard_server("recommender", package) as server:
        ours = [measure(server.port, ours_request, connections, arguments.seconds) for connections in CONNECTIONS]
    show("modelyard (v2 JSON, raw features)", ours)
    found["modelyard"] = [load.document() for load in ours]
    for peer in PEERS:
        if arguments.peer and peer.label not in arguments.peer:
            continue
        theirs = best_of(peer, package, arguments.seconds)
        ratio = max(load.rate for load in ours) / max(load.rate for load in theirs)
        show(peer.label, theirs, f"   ours is {ratio:.1f} x, our p50 {ours[0].p50 / theirs[0].p50:.2f} of theirs")
        found[peer.label] = [load.document() for load in theirs] + [{"ratio": ratio}]
    (FOLDER / "peers.json").write_text(json.dumps(found, indent=1))


def show(label: str, loads: list[Load], more: str = "") -> None:
    """Print a line."""
    rates = "".join(f"{load.rate:>10,.0f}" for load in loads)
    failed = sum(load.failed for load in loads)
    told = f"   {failed} FAILED" if failed else ""
    print(f"  {label:<36}{rates}   p50 {loads[0].p50 * 1e6:,.0f} us{told}{more}", flush=True)


if __name__ == "__main__":
    main()
