"""`make bench-training`: what a run costs beside bare Keras, and what each variant of a model costs and saves.

Both in one run, medians of repeats that take turns; results go to build/benchmarks/training.json.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import modelyard
from modelyard.contract.package import Precision
from modelyard.contract.training import DataSource, Optimise
from modelyard.contract.wire import Environment, RunDocument
from modelyard.model.features import Encoder
from modelyard.model.publishing import publish
from modelyard.model.storage import open_store
from modelyard.training.running import Run
from tests.benchmarks.serving.models import _NOW, tagger

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "config/samples"
Json = dict[str, Any]
ALL = Optimise(variants=list(Precision))


class StepTimes(keras.callbacks.Callback):  # type: ignore[misc]
    """Seconds from the beginning of a step to the next one's, within an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._last: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._last = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now


def sample(name: str) -> Any:
    """Import a sample's script."""
    spec = importlib.util.spec_from_file_location(f"sample_{name}", SAMPLES / name / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digits() -> tuple[Callable[[], Any], Any, Any, int, int]:
    """Return how the model is built, x, y, batch size and epochs."""
    script = sample("digits")
    pictures, numbers = script.load_digits(return_X_y=True)
    encoder = Encoder(script.FEATURES)
    x, y = encoder.encode_columns({"pixels": pictures}), {"tags": script.tags_of(numbers)}
    return lambda: script.build(0.001), x, y, 32, 30


def flights() -> tuple[Callable[[], Any], Any, Any, int, int]:
    """Return how the model is built, x, y, batch size and epochs."""
    script = sample("flights")
    with tempfile.TemporaryDirectory() as folder:
        columns, late = script.load(prepare_flights(folder) / "prepared" / "prepare")
    encoder = Encoder(script.declare(columns))
    return lambda: script.build(encoder, 0.002), encoder.encode_columns(columns), {"late": late}, 1024, 3


def prepare_flights(folder: str) -> Path:
    """Run the sample's prepare step as on a laptop; return the folder of its runs."""
    command = [sys.executable, str(SAMPLES / "flights/prepare.py")]
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    return Path(folder) / "runs"


def overhead(name: str, repeats: int) -> Json:
    """Fit with and without a run, in turns; both shuffle, only the run tells progress and saves state each second."""
    build, x, y, size, epochs = {"digits": digits, "flights": flights}[name]()
    found: dict[str, list[float]] = {"bare": [], "run": []}
    steps: dict[str, list[float]] = {"bare": [], "run": []}
    for repeat in range(repeats + 1):
        for kind in ("bare", "run"):
            with tempfile.TemporaryDirectory() as folder:
                times, model = StepTimes(), build()
                started = time.perf_counter()
                if kind == "bare":
                    model.fit(x, y, batch_size=size, epochs=epochs, callbacks=[times], verbose=0)
                else:
                    run = begin(folder, checkpointing={"everySeconds": 1})
                    data = run.batches(x, y, batch_size=size)
                    model.fit(data, epochs=epochs, callbacks=[times, run.callback()], verbose=0)
                taken = time.perf_counter() - started
            # the first pair warms TensorFlow up
            if repeat:
                found[kind].append(taken)
                # the first step of all makes the graph
                steps[kind] += times.seconds[1:]
    shares = [ours / theirs - 1 for ours, theirs in zip(found["run"], found["bare"], strict=True)]
    result = {"seconds": {kind: statistics.median(values) for kind, values in found.items()}}
    result |= {"overhead": statistics.median(shares), "shares": shares}
    for kind, values in steps.items():
        result[f"{kind}_step"] = {
            "median": statistics.median(values),
            "p99": float(np.quantile(values, 0.99)),
            "worst": max(values),
        }
    ours = result["run_step"]
    print(
        f"{name}: {result['seconds']['bare']:.2f} s bare, {result['seconds']['run']:.2f} s as a run, overhead "
        f"{result['overhead']:+.1%}; steps median {ours['median'] * 1e3:.2f} ms, worst {ours['worst'] * 1e3:.2f} ms "
        f"(bare: {result['bare_step']['median'] * 1e3:.2f}, {result['bare_step']['worst'] * 1e3:.2f})",
        flush=True,
    )
    return result


def begin(folder: str, **document: Any) -> Run:
    """Begin a run of the cluster's kind with results in a folder."""
    told = RunDocument(training="t", namespace="n", run="t-1", output=folder, **document)
    return Run(told, attempt="a", progress=Path(folder) / "progress.json", environment={})


def variants_of_sample(name: str) -> list[Json]:
    """Train a sample with every variant; return the manifest's figures."""
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "run.json"
        data = [DataSource(name="prepare", uri="pvc://prepared/prepare")] if name == "flights" else []
        told = RunDocument(training=name, namespace="n", run=f"{name}-1", output=folder, optimise=ALL, data=data)
        document.write_text(told.model_dump_json(by_alias=True))
        environment = {Environment.RUN: str(document), Environment.PROGRESS: f"{folder}/progress.json"}
        if data:
            environment[Environment.PVC_ROOT] = str(prepare_flights(folder))
        subprocess.run(
            [sys.executable, str(SAMPLES / name / "train.py")],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        [package] = Path(folder).glob("runs/*/attempts/*")
        return [variant.document() for variant in modelyard.open(package).manifest.variants]


def variants_of_tagger() -> list[Json]:
    """Publish the tagger of the serving benchmark with every variant; its weights are random."""
    model, publication = tagger()
    publication = dataclasses.replace(publication, optimise=ALL)
    with tempfile.TemporaryDirectory() as folder:
        published = publish(model, publication, open_store(folder), lambda: _NOW)
        return [variant.document() for variant in modelyard.open(published.uri).manifest.variants]


def show(name: str, variants: list[Json]) -> None:
    """Print a table."""
    print(f"{name:<24}{'size':>12}{'one, us':>10}{'of 32, us':>11}{'loss':>9}{'agreement':>11}{'difference':>12}")
    for variant in variants:
        told = {"float32": "float32 (frozen)", "saved-model": "saved-model (original)"}
        line = f"{told.get(variant['name'], variant['name']):<24}{variant['size']:>12,}"
        if variant.get("seconds"):
            line += f"{variant['seconds'] * 1e6:>10,.1f}{variant['batchSeconds'] * 1e6:>11,.2f}"
            line += f"{variant['loss']:>9.4f}{variant['agreement']:>11.4f}{variant['difference']:>12.4f}"
        print(f"{line}   {variant.get('reason', '')}", flush=True)


def main() -> None:
    """Run both parts and write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("variants", "overhead"), help="only this one")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs for each sample (default: 5)")
    arguments = parser.parse_args()
    found: Json = {"variants": {}, "overhead": {}}
    tables = {name: (lambda name=name: variants_of_sample(name)) for name in ("digits", "flights")}
    for name, take in {**tables, "tagger": variants_of_tagger}.items():
        if arguments.part == "overhead":
            continue
        found["variants"][name] = take()
        show(name, found["variants"][name])
    for name in ("digits", "flights") if arguments.part != "variants" else ():
        found["overhead"][name] = overhead(name, arguments.repeats)
    path = ROOT / "build/benchmarks/training.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1))
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
