"""`make bench-peers`: other servers with the same model, beside ours and a bare handler, in one run.

Each peer has an environment of its own below the cache, made when it is missing; TensorFlow comes from the development
environment. One that cannot be installed or started here is reported with its error. Peers get encoded features, so
that they have less to do; every server has core 0, the load generator core 1. Results go to
build/benchmarks/peers.json, drawn in peers.svg.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import modelyard
from tests.benchmarks.serving.bare import __file__ as bare_file
from tests.benchmarks.serving.load import Load, measure
from tests.benchmarks.serving.models import packages
from tests.benchmarks.serving.peers_known import HERE, PEERS, Peer
from tests.benchmarks.serving.plots import plot_peers
from tests.benchmarks.serving.requests import Request, requests_for
from tests.benchmarks.serving.servers import ROOT, Process, free_port, modelyard_server, python_of_the_images
from tests.support.environments import environment

CONNECTIONS = (1, 8, 32)
FOLDER = ROOT / "build/benchmarks"


def columns_of(package: Path) -> dict[str, list[Any]]:
    """Return one encoded instance as JSON columns."""
    model = modelyard.open(package)
    row = model.encoder.encode([model.samples[0].request])
    return {name: values.tolist() for name, values in row.items()}


def best_of(peer: Peer, package: Path, seconds: float) -> list[Load]:
    """Run a peer and return what was seen over each number of connections."""
    python, port = environment(peer.package, peer.requirements, python=peer.python), free_port()
    packages_of_tensorflow = next(path for path in sys.path if path.endswith("site-packages"))
    variables = {
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
    body = json.dumps(peer.document(columns_of(package))).encode()
    request = Request("POST", peer.path, body, {"Content-Type": "application/json"})
    with tempfile.TemporaryDirectory(prefix="modelyard-peer-") as name:
        folder = Path(name)
        log = folder / "log"
        try:
            command = [str(python), *peer.command(port, folder)]
            with Process(command, port, variables, folder=folder, log=log) as server:
                server.await_port(port)
                server.await_answer(request)
                # some are long at work after their first answer
                measure(port, request, 1, 5)
                return [measure(port, request, connections, seconds) for connections in CONNECTIONS]
        except (SystemExit, ValueError) as error:
            raise PeerError(f"{error}; its log ends with {log.read_text(errors='replace')[-600:]}") from error


class PeerError(Exception):
    """A peer could not be started or asked; the message has the end of its log."""


def bare(request: Request, answer: bytes, seconds: float) -> list[Load]:
    """Measure the handler that reads the same body and returns the same bytes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(answer)
        file.flush()
        port = free_port()
        command = [python_of_the_images(), bare_file, str(port), request.method, request.path, file.name]
        with Process(command, port) as server:
            server.await_port(port)
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
        answer = server.await_answer(ours_request)
        ours = [measure(server.port, ours_request, connections, arguments.seconds) for connections in CONNECTIONS]
    limit = bare(ours_request, answer, arguments.seconds)
    show("a bare aiohttp handler", limit)
    show("modelyard (v2 JSON, raw features)", ours)
    found["bare handler"] = [load.document() for load in limit]
    found["modelyard"] = [load.document() for load in ours]
    for peer in PEERS:
        if arguments.peer and peer.label not in arguments.peer:
            continue
        try:
            theirs = best_of(peer, package, arguments.seconds)
        except (PeerError, subprocess.CalledProcessError) as error:
            why = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
            print(f"  {peer.label:<36}could not be measured: {why[:800]}", flush=True)
            found[peer.label] = [{"error": why[:800]}]
            continue
        ratio = max(load.rate for load in ours) / max(load.rate for load in theirs)
        show(peer.label, theirs, f"   ours is {ratio:.1f} x, our p50 {ours[0].p50 / theirs[0].p50:.2f} of theirs")
        found[peer.label] = [load.document() for load in theirs] + [{"ratio": ratio}]
    (FOLDER / "peers.json").write_text(json.dumps(found, indent=1))
    rates = {
        label: {str(load["connections"]): load["rate"] for load in loads if "rate" in load}
        for label, loads in found.items()
    }
    plot_peers({label: told for label, told in rates.items() if told}, FOLDER / "peers.svg")


def show(label: str, loads: list[Load], more: str = "") -> None:
    """Print a line."""
    rates = "".join(f"{load.rate:>10,.0f}" for load in loads)
    failed = sum(load.failed for load in loads)
    told = f"   {failed} FAILED" if failed else ""
    print(f"  {label:<36}{rates}   p50 {loads[0].p50 * 1e6:,.0f} us{told}{more}", flush=True)


if __name__ == "__main__":
    main()
