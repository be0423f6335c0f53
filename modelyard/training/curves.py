"""Curves of a run's metrics, bounded: what a page draws while a run trains and long after it."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from modelyard.contract.wire import Curve, RunCurves

__all__ = ["MOST_POINTS", "CurveFile", "Curves", "encode"]

#: How many points a metric keeps at most.
MOST_POINTS = 500
#: Seconds between two writes of the file.
_WRITE_SECONDS = 5.0


class _Points:
    """Every `stride`-th value of one metric."""

    def __init__(self, stride: int = 1, seen: int = 0) -> None:
        self.stride, self.seen = stride, seen
        self.steps: list[int] = []
        self.values: list[float] = []

    def add(self, step: int, value: float) -> None:
        if self.seen % self.stride == 0:
            if len(self.steps) == MOST_POINTS:
                # an even number of points: the next one has its place in the doubled stride, too
                del self.steps[1::2], self.values[1::2]
                self.stride *= 2
            self.steps.append(step)
            self.values.append(value)
        self.seen += 1


class Curves:
    """At most `MOST_POINTS` points of each metric, evenly spread over all there were, the first among them.

    Which points are kept follows from the values added alone: curves gone on with are those of a run never stopped.
    """

    def __init__(self, saved: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """`saved` is what `saved` returned."""
        self._points: dict[str, _Points] = {}
        for name, told in (saved or {}).items():
            points = self._points[name] = _Points(told["stride"], told["seen"])
            points.steps, points.values = list(told["steps"]), list(told["values"])

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of a step; a value that is not a number has no point."""
        for name, value in metrics.items():
            points = self._points.get(name)
            if points is None:
                points = self._points[name] = _Points()
            if math.isfinite(value):
                points.add(step, value)

    def saved(self) -> dict[str, dict[str, Any]]:
        """Return a copy as plain values, for a saved state."""
        return {
            name: {"stride": each.stride, "seen": each.seen, "steps": each.steps[:], "values": each.values[:]}
            for name, each in self._points.items()
        }


def encode(run: str, saved: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a run's curves as the JSON document that is served and kept: see `RunCurves`."""
    metrics = {name: Curve.model_construct(steps=told["steps"], values=told["values"]) for name, told in saved.items()}
    return RunCurves.model_construct(run=run, metrics=metrics).model_dump_json(by_alias=True).encode()


class CurveFile:
    """The file that the process beside the training serves; written in a thread, every few seconds at most."""

    def __init__(self, path: Path | None, run: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Without a path nothing is written."""
        self._path = path
        self._run = run
        self._clock = clock
        self._due = float("-inf")
        self._threads = ThreadPoolExecutor(1, "curves")
        self._pending: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the file is being written: the next write waits until it is due again."""
        return self._pending is not None and not self._pending.done()

    def tell(self, curves: Curves) -> None:
        """Write the curves if it is time."""
        if self._path is not None and self._clock() >= self._due and not self.is_busy:
            self._begin(curves)

    def finish(self, curves: Curves) -> None:
        """Write the curves and wait for it."""
        if self._path is not None:
            self._begin(curves).result()

    def _begin(self, curves: Curves) -> Future[None]:
        self._due = self._clock() + _WRITE_SECONDS
        self._pending = self._threads.submit(self._write, curves.saved())
        return self._pending

    def _write(self, saved: Mapping[str, Mapping[str, Any]]) -> None:
        assert self._path is not None
        temporary = self._path.with_suffix(f".{os.getpid()}")
        # a full disk is no reason to end a training: the next write may find room
        with contextlib.suppress(OSError):
            temporary.write_bytes(encode(self._run, saved))
            temporary.replace(self._path)
