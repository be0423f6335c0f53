"""From a URI to a model that is known to answer: verified, measured, warmed up, its golden samples replayed."""

import asyncio
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from modelyard.contract.options import Batching, Objective, ServingOptions
from modelyard.model.costs import CostCurve, measure_costs
from modelyard.model.encoders import Array
from modelyard.model.opening import Executor, Model, choose_variant, fetch_package
from modelyard.model.storage import open_store
from modelyard_server.computing import Computing, measure_hop
from modelyard_server.core import Core
from modelyard_server.settings import ServerSettings

__all__ = ["SWITCH_INTERVAL", "available_cores", "batches_pay", "build_core", "load_model"]

_WARM_UPS = 20
#: Seconds after which a thread that has computed gets the interpreter from a busy event loop. With one core that is
#: what handing over costs under load, and threads compute nothing that the loop could not.
SWITCH_INTERVAL = 0.0005


def load_model(settings: ServerSettings, tell: Callable[[str], None]) -> Model:
    """Fetch, verify, open and replay; raise PackageError or StorageError."""
    with tempfile.TemporaryDirectory(prefix="modelyard-package-") as folder:
        store, variant = open_store(settings.uri), settings.options.variant
        manifest, digest = fetch_package(store, Path(folder), settings.digest, variant, trusted=settings.verification)
        if choose_variant(manifest, variant).runtime == "tensorflow":
            _limit_tensorflow(settings)
        model = Model(Path(folder), manifest, digest, variant=variant)
    tell("the golden samples are replayed")
    model.verify_samples()
    return model


def _limit_tensorflow(settings: ServerSettings) -> None:
    if importlib.util.find_spec("tensorflow") is not None:
        from modelyard.model.runtime.tensorflow import limit_threads

        limit_threads(settings.options.threads or available_cores())


async def build_core(model: Model, settings: ServerSettings, clock: Callable[[], float] = time.perf_counter) -> Core:
    """Measure what the model costs here, and prepare as many executors as there are cores; nothing else may run."""
    options = settings.options
    row = _example(model)
    curve = await asyncio.to_thread(measure_executor, model.executor, row, clock)
    model.runtime.largest_batch = curve.best_batch
    hop = await measure_hop(clock)
    workers = options.threads or available_cores()
    at_once = hop if workers > 1 else max(hop, SWITCH_INTERVAL)
    if curve.predict(1) <= at_once and not batches_pay(options, curve, hop):
        # threads are only for large batches then: their executors are filled when the first one comes
        inline, executors = model.executor, [model.new_executor() for _ in range(workers)]
        values = [array[0] for array in row.values()]
        for _ in range(_WARM_UPS):
            inline.compute_row(values)
    else:
        inline, executors = None, [model.executor, *(model.new_executor() for _ in range(workers - 1))]
        for executor in executors:
            executor.compute(row)
    computing = Computing(inline, executors, model.encoder.inputs, curve, options, at_once=at_once, clock=clock)
    return Core(model, settings.name, settings.version, options, computing=computing, clock=clock)


def batches_pay(options: ServingOptions, curve: CostCurve, hop: float) -> bool:
    """Return whether requests are to be put together: with `Throughput`, if a batch saves more than joining it costs.

    Joining costs what handing over to a thread does. Whoever says how batches are formed gets them.
    """
    if options.objective is not Objective.THROUGHPUT:
        return False
    saved = curve.predict(1) - curve.predict(curve.best_batch) / curve.best_batch
    return options.batching != Batching() or saved > hop


def _example(model: Model) -> dict[str, Array]:
    """Return one encoded instance: a golden sample's, or zeros."""
    if model.samples:
        return model.encoder.encode([model.samples[0].request])
    return {name: np.zeros((1, *spec.shape), spec.dtype) for name, spec in model.encoder.inputs.items()}


def measure_executor(executor: Executor, row: dict[str, Array], clock: Callable[[], float]) -> CostCurve:
    """Return the cost curve of an executor and set its runtime to the best batch size."""
    runtime = executor.runtime
    batches: dict[int, dict[str, Array]] = {}

    def compute(size: int) -> None:
        if size not in batches:
            batches[size] = {name: np.repeat(values, size, axis=0) for name, values in row.items()}
        executor.compute(batches[size])

    largest = runtime.largest_batch
    curve = measure_costs(compute, largest, clock)
    runtime.largest_batch = curve.best_batch
    return curve


def available_cores() -> int:
    """Return how many cores this container may use, rounded up: its quota, or those it may run on."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, -(-int(quota) // int(period))))
