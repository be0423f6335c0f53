"""`make bench-serving`: what serving costs, beside its limits, in one run.

The server has core 0, the load generator core 1; every figure is the median of three repeats. Results go to
build/benchmarks/serving.json, drawn in serving.svg.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np

import modelyard
from modelyard.model.opening import Model
from tests.benchmarks.serving.bare import __file__ as bare
from tests.benchmarks.serving.load import Load, measure, measure_grpc
from tests.benchmarks.serving.models import packages
from tests.benchmarks.serving.overload import flood, recovery
from tests.benchmarks.serving.plots import plot_serving
from tests.benchmarks.serving.requests import Request, requests_for
from tests.benchmarks.serving.servers import (
    ROOT,
    Process,
    Server,
    free_port,
    modelyard_server,
    python_of_the_images,
)

CONNECTIONS = (1, 8, 32)
Json = dict[str, Any]


class Benchmark:
    """Collects results and prints each as it comes."""

    def __init__(self, seconds: float, repeats: int) -> None:
        self._seconds, self._repeats = seconds, repeats
        self.results: Json = {}

    def load(self, label: str, take: Callable[[int, float], Load]) -> Json:
        """Measure over each number of connections; return the medians."""
        return self.turns({label: take})[0]

    def turns(self, takes: Mapping[str, Callable[[int, float], Load]]) -> list[Json]:
        """Measure several in turn, so that whatever the machine does meets all of them; return the medians of each."""
        found: list[Json] = [{} for _ in takes]
        for connections in CONNECTIONS:
            rounds = [[take(connections, self._seconds) for take in takes.values()] for _ in range(self._repeats)]
            for place, runs in enumerate(zip(*rounds, strict=True)):
                middle = sorted(runs, key=lambda run: run.rate)[len(runs) // 2]
                found[place][str(connections)] = middle.document() | {"failed": sum(run.failed for run in runs)}
        for label, told in zip(takes, found, strict=True):
            self._tell(label, told)
        return found

    def _tell(self, label: str, found: Json) -> None:
        rates = "".join(f"{found[str(c)]['rate']:>11,.0f}" for c in CONNECTIONS)
        failed = sum(entry["failed"] for entry in found.values())
        told = f"   {failed} FAILED" if failed else ""
        print(f"  {label:<44}{rates}   p50 {found['1']['p50'] * 1e6:,.0f} us{told}", flush=True)


def beside_bare(benchmark: Benchmark, label: str, server: Server, door: str, request: Request) -> tuple[Json, Json]:
    """Measure a door and a handler that reads the same body and returns the same bytes, turn by turn."""
    answer = grpc_answer(server, request) if door == "grpc" else server.await_answer(request)
    verb, path = "grpc" if door == "grpc" else request.method, request.path.partition("?")[0]
    with tempfile.NamedTemporaryFile() as file:
        file.write(answer)
        file.flush()
        port = free_port()
        with Process([python_of_the_images(), bare, str(port), verb, path, file.name], port) as handler:
            handler.await_port(port)
            take = measure_grpc if door == "grpc" else measure
            takes = {
                f"bare handler, {label}": lambda c, s: take(port, request, c, s),
                label: take_from(server, door, request),
            }
            limit, ours = benchmark.turns(takes)
    return limit, ours


def grpc_answer(server: Server, request: Request) -> bytes:
    """Return the message that answers a gRPC frame."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        return bytes(channel.unary_unary(request.path)(request.body[5:]))


def in_process(model: Model, sizes: tuple[int, ...]) -> Json:
    """Return instances a second of the runtime alone, by batch size."""
    row = model.encoder.encode([model.samples[0].request])
    found = {}
    for size in sizes:
        inputs = {name: np.repeat(values, size, axis=0) for name, values in row.items()}
        model.compute(inputs)
        runs = []
        for _ in range(5):
            started, calls = time.perf_counter(), 0
            while time.perf_counter() - started < 0.3:
                model.compute(inputs)
                calls += 1
            runs.append(calls * size / (time.perf_counter() - started))
        found[str(size)] = statistics.median(runs)
    return found


def doors(benchmark: Benchmark, name: str, package: Path, model: Model) -> tuple[Json, Json]:
    """Measure every door, both objectives, one instance and 32, cache and watching; the bare handlers come first."""
    limits: Json = {}
    single, many = requests_for(model, name, 1), requests_for(model, name, 32)
    found: Json = {}
    with modelyard_server(name, package) as server:
        found["start"] = {"seconds": server.ready, "resident": server.resident}
        print(f"  start to ready {server.ready:.2f} s, {server.resident / 1e6:.0f} MB", flush=True)
        for door, request in single.items():
            limits[door], found[door] = beside_bare(benchmark, f"{door}, one instance", server, door, request)
        for door in ("v2", "v2-binary"):
            if door in many:
                label, key = f"{door}, 32 instances", f"{door} x32"
                limits[key], found[key] = beside_bare(benchmark, label, server, door, many[door])
        found["resident"] = server.resident
        print(f"  after the load {server.resident / 1e6:.0f} MB", flush=True)
    variations: dict[str, Json] = {
        "throughput": {"objective": "Throughput"},
        "cache": {"cache": {"entries": 1000}},
        "unwatched": {"monitoring": {"distributions": False}},
    }
    door = "v2" if "v2" in single else "v2-binary"
    for label, options in variations.items():
        with modelyard_server(name, package, **options) as server:
            found[label] = benchmark.load(f"{door}, {label}", take_from(server, door, single[door]))
    return limits, found


def take_from(server: Server, door: str, request: Request) -> Callable[[int, float], Load]:
    """Return what measures a door of a server."""
    if door == "grpc":
        return lambda connections, seconds: measure_grpc(server.grpc, request, connections, seconds)
    return lambda connections, seconds: measure(server.port, request, connections, seconds)


def slope(benchmark: Benchmark, name: str, package: Path, model: Model) -> Json:
    """Fit request time = overhead + n x compute over n = 1 to 256, one connection."""
    sizes = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    times = []
    with modelyard_server(name, package) as server:
        for size in sizes:
            request = requests_for(model, name, size)["v2-binary"]
            times.append(min(measure(server.port, request, 1, 1.0).p50 for _ in range(3)))
    design = np.stack([np.ones(len(sizes)), np.array(sizes)], axis=1)
    # each size counts alike, by its relative error
    weights = 1 / np.array(times)
    fitted, *_ = np.linalg.lstsq(design * weights[:, None], np.array(times) * weights, rcond=None)
    residual = float(np.sqrt(np.mean((design @ fitted / times - 1) ** 2)))
    overhead, each = map(float, fitted)
    print(f"  {overhead * 1e6:.0f} us + n x {each * 1e6:.1f} us (relative residual {residual:.2f})", flush=True)
    return {"overhead": overhead, "each": each, "residual": residual, "times": dict(zip(sizes, times, strict=True))}


def overload(request: Request, package: Path) -> Json:
    """Flood the tagger at multiples of its capacity: 16 may wait, a second at most."""
    admission = {"maxQueue": 16, "deadlineMilliseconds": 1000}
    found: Json = {}
    with modelyard_server("tagger", package, admission=admission) as server:
        normal = measure(server.port, request, 1, 2).p50
        peak = statistics.median(measure(server.port, request, 4, 3).rate for _ in range(3))
        for times in (1, 2, 5, 10):
            seen = flood(server.port, server.status, request, peak * times, 5.0)
            found[str(times)] = told = seen.document(peak, server.resident)
            told["back"] = recovery(server.port, request, normal)
            print(
                f"  {times:>2}x: {told['of_peak']:.2f} of the peak, accepted p99 {told['accepted_p99'] * 1e3:.0f} ms, "
                f"rejected p99 {told['rejected_p99'] * 1e3:.1f} ms, status port at most "
                f"{told['status_port_worst'] * 1e3:.0f} ms, {told['resident'] / 1e6:.0f} MB, {told['failed']} failed, "
                f"back to normal in {told['back']:.2f} s",
                flush=True,
            )
    return found


def ratios(found: Json) -> Json:
    """Return what is claimed, from this run."""
    told: Json = {}
    for name, result in found.items():
        if "bare" not in result:
            continue
        for door in ("v2", "get", "v1", "v2-binary", "grpc"):
            if door in result["doors"] and door in result["bare"]:
                ours, limit = result["doors"][door], result["bare"][door]
                told[f"{name} {door}: of the bare handler, 8 connections"] = ours["8"]["rate"] / limit["8"]["rate"]
                told[f"{name} {door}: p50 above it, 1 connection, us"] = (ours["1"]["p50"] - limit["1"]["p50"]) * 1e6
        for door in ("v2 x32", "v2-binary x32"):
            if door in result["doors"]:
                best = max(entry["rate"] for entry in result["doors"][door].values()) * 32
                told[f"{name} {door}: of the runtime's own"] = best / result["runtime"]["32"]
                # one core reads, computes and answers: no server is faster than both limits together
                handled = max(entry["rate"] for entry in result["bare"][door].values()) * 32
                together = 1 / (1 / handled + 1 / result["runtime"]["32"])
                told[f"{name} {door}: of bare handler and runtime together"] = best / together
        door = "v2" if "v2" in result["doors"] else "v2-binary"
        rates = {key: result["doors"][key]["32"]["rate"] for key in ("throughput", "unwatched", door)}
        told[f"{name}: throughput over latency objective, 32 connections"] = rates["throughput"] / rates[door]
        eight = {key: result["doors"][key]["8"]["rate"] for key in ("unwatched", door)}
        told[f"{name}: share that watching costs, 8 connections"] = 1 - eight[door] / eight["unwatched"]
    return told


def main() -> None:
    """Run what is asked for, print it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--repeats", type=int, default=3, help="medians of so many (default: 3)")
    parser.add_argument("--model", choices=("recommender", "tagger"), help="only this one")
    arguments = parser.parse_args()
    folder = ROOT / "build/benchmarks"
    benchmark = Benchmark(arguments.seconds, arguments.repeats)
    found: Json = {}
    for name, package in packages(folder / "packages").items():
        if arguments.model not in (None, name):
            continue
        print(f"{name}   answers a second over {', '.join(map(str, CONNECTIONS))} connections", flush=True)
        model = modelyard.open(package)
        result: Json = {"runtime": in_process(model, (1, 32))}
        told = ", ".join(f"{rate:,.0f} in batches of {size}" for size, rate in result["runtime"].items())
        print(f"  the runtime alone, instances a second: {told}", flush=True)
        result["bare"], result["doors"] = doors(benchmark, name, package, model)
        if name == "recommender":
            result["slope"] = slope(benchmark, name, package, model)
        else:
            result["overload"] = {}
            for door in ("v2-jpeg", "v2-binary"):
                print(f"  more than can be answered, {door}", flush=True)
                result["overload"][door] = overload(requests_for(model, name, 1)[door], package)
        found[name] = result
    found["ratios"] = ratios(found)
    for label, value in found["ratios"].items():
        print(f"{label:<70} {value:8.3f}")
    (folder / "serving.json").write_text(json.dumps(found, indent=1))
    plot_serving(found, folder / "serving.svg")
    print(f"written to {(folder / 'serving.json').relative_to(ROOT)}, drawn in serving.svg")


if __name__ == "__main__":
    main()
