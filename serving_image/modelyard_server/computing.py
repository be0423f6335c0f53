"""Where and when a request is computed: at once in the event loop, or in a thread, alone or in a batch.

What costs less than handing it to a thread is computed at once. Everything else waits in one queue, of which idle
threads take pieces: of one request (`Latency`), or of as many as fill a batch (`Throughput`). A large request gives
way after each piece, so that small ones do not wait for all of it.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from modelyard.contract.options import Admission, Objective, ServingOptions
from modelyard.model.costs import CostCurve
from modelyard.model.encoders import Array
from modelyard.model.features import InputSpec
from modelyard.model.opening import Executor
from modelyard_server.asking import DeadlineError, RequestError

__all__ = ["Computed", "Computing", "Job", "Piece", "form_batch", "measure_hop"]

Outputs = dict[str, Array]
_Timed = tuple[Outputs, float]
#: Work that lies ready for each thread beyond what it computes, in seconds.
_AHEAD = 0.02
#: A piece of a large request may hold up the others for this long, in seconds.
_LONGEST_PIECE = 0.02
#: How much one measurement changes what is known of the present speed.
_LEARNING = 0.1


@dataclass(slots=True)
class Computed:
    """Finished outputs by name, and the seconds that waiting and computing took."""

    outputs: Outputs
    queue: float
    compute: float


@dataclass(slots=True, eq=False)
class Job:
    """A request that waits, and what is done of it."""

    rows: int
    inputs: Mapping[str, Array] | None
    """Encoded arrays of shape (rows, ...) by input name."""
    values: Sequence[Any] | None
    """For one instance: what `Encoder.encode_row` gave."""
    arrived: float
    deadline: float
    done: asyncio.Future[Computed]
    taken: int = 0
    finished: int = 0
    started: float | None = None
    compute: float = 0.0
    parts: list[Outputs] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Piece:
    """Instances of one job: from `start` up to, not including, `stop`."""

    job: Job
    start: int
    stop: int


def form_batch(pending: deque[Job], size: int, *, mix: bool) -> list[Piece]:
    """Take up to `size` instances off the queue, of one job or of many; what is left of a job goes to the end.

    In a mixed batch every job gets the same share before any gets more.
    """
    if not mix:
        return [_take(pending, size)]
    batch: list[Piece] = []
    room = size
    while pending and room:
        share = max(1, room // len(pending))
        for _ in range(min(len(pending), room)):
            piece = _take(pending, min(share, room))
            batch.append(piece)
            room -= piece.stop - piece.start
    return batch


def _take(pending: deque[Job], most: int) -> Piece:
    job = pending.popleft()
    start = job.taken
    job.taken = min(job.rows, start + most)
    if job.taken < job.rows:
        pending.append(job)
    return Piece(job, start, job.taken)


class Gatekeeper:
    """Admits what can be answered in time: a bounded queue, and a deadline against the work that waits already."""

    def __init__(self, admission: Admission, workers: int) -> None:
        self._admission = admission
        self._workers = workers
        self.waiting = 0
        """Jobs admitted and unfinished."""
        self.preparing = 0
        """Requests that are encoded in a thread, and will be jobs."""
        self.backlog = 0.0
        """Predicted seconds of their work."""

    def admit(self, cost: float, remaining: float) -> None:
        """Count a job in; raise RequestError (429) or DeadlineError (503) with an honest `Retry-After`."""
        error = self.full()
        if error is not None:
            raise error
        wait = self.backlog / self._workers
        if wait + cost > remaining:
            told = f"{max(remaining, 0) * 1e3:.0f} ms are left, {(wait + cost) * 1e3:.0f} ms are needed"
            raise DeadlineError(f"no answer is possible in time: {told}", self._retry())
        self.waiting += 1
        self.backlog += cost

    def full(self) -> RequestError | None:
        """Return the refusal (429) of whatever comes now, if the queue is full."""
        waiting = self.waiting + self.preparing
        if waiting < self._admission.max_queue:
            return None
        return RequestError(f"{waiting} requests wait already: the queue is full", 429, self._retry())

    def _retry(self) -> dict[str, str]:
        return {"Retry-After": str(max(1, math.ceil(self.backlog / self._workers)))}

    def leave(self, cost: float) -> None:
        """Count a job out."""
        self.waiting -= 1
        self.backlog = max(0.0, self.backlog - cost) if self.waiting else 0.0


class Computing:
    """Executes encoded requests on a fixed number of executors."""

    def __init__(
        self,
        inline: Executor | None,
        executors: Sequence[Executor],
        specs: Mapping[str, InputSpec],
        curve: CostCurve,
        options: ServingOptions,
        *,
        at_once: float,
        clock: Callable[[], float],
    ) -> None:
        self.curve = curve
        self.at_once = at_once
        """Seconds that a computation may take in the event loop, if there is an executor for it."""
        self._clock = clock
        self._specs = specs
        self._mix = options.objective is Objective.THROUGHPUT
        self._delay = options.batching.max_delay_milliseconds / 1e3
        self.batch_size = options.batching.max_size or curve.best_batch if self._mix else _longest_piece(curve)
        self.inline = inline
        """Computes in the event loop; None: everything is queued."""
        self._executors: SimpleQueue[Executor] = SimpleQueue()
        for executor in executors:
            self._executors.put(executor)
        self._threads = ThreadPoolExecutor(len(executors), "compute")
        self._room = len(executors) + (1 if self._mix else math.ceil(_AHEAD / curve.predict(self.batch_size)))
        """Batches that may be under way or lie ready: a thread that ends one finds the next without the event loop,
        which may be busy refusing a flood."""
        self.gate = Gatekeeper(options.admission, len(executors))
        self._pending: deque[Job] = deque()
        self._rows = 0
        self._last_batch = 0
        self._speed = 1.0
        self._wake: asyncio.Handle | None = None
        self.observe_batch: Callable[[int], None] = lambda rows: None
        """Called with the size of each batch."""

    async def run_row(self, values: Sequence[Any], arrived: float, deadline: float) -> Computed:
        """Compute one instance off the queue; raise RequestError if it is refused."""
        return await self._enqueue(1, None, values, arrived, deadline)

    async def run(self, inputs: Mapping[str, Array], rows: int, arrived: float, deadline: float) -> Computed:
        """Compute a batch of one request; raise RequestError if it is refused."""
        if self.inline is not None and self.curve.predict(rows) <= self.at_once:
            started = self._clock()
            return Computed(self.inline.compute(inputs), 0.0, self._clock() - started)
        return await self._enqueue(rows, inputs, None, arrived, deadline)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)

    async def _enqueue(
        self,
        rows: int,
        inputs: Mapping[str, Array] | None,
        values: Sequence[Any] | None,
        arrived: float,
        deadline: float,
    ) -> Computed:
        cost = self.curve.predict(rows) * self._speed
        self.gate.admit(cost, deadline - self._clock())
        loop = asyncio.get_running_loop()
        job = Job(rows, inputs, values, arrived, deadline, loop.create_future())
        self._pending.append(job)
        self._rows += rows
        if self._wake is None:
            # after everything else that has arrived by now
            self._wake = loop.call_soon(self._pump)
        try:
            return await job.done
        finally:
            self.gate.leave(cost)

    def _pump(self) -> None:
        """Hand out work while there is any and room for it."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        while self._pending and self._room:
            self._drop_useless()
            if not self._pending:
                return
            if self._mix and (rest := self._patience()) > 0:
                self._wake = asyncio.get_running_loop().call_later(rest, self._pump)
                return
            batch = form_batch(self._pending, self.batch_size, mix=self._mix)
            rows = sum(piece.stop - piece.start for piece in batch)
            self._rows -= rows
            self._last_batch = rows
            self._start(batch, rows)

    def _drop_useless(self) -> None:
        """Forget jobs whose client is gone or whose deadline has passed."""
        now = self._clock()
        while self._pending and (self._pending[0].done.done() or self._pending[0].deadline <= now):
            job = self._pending.popleft()
            self._rows -= job.rows - job.taken
            if not job.done.done():
                job.done.set_exception(DeadlineError("the deadline passed while the request waited"))

    def _patience(self) -> float:
        """Return how many seconds to wait for a fuller batch: until it is full, or as many came as the last time."""
        if self._rows >= min(self.batch_size, max(self._last_batch, 1)):
            return 0.0
        return self._pending[0].arrived + self._delay - self._clock()

    def _start(self, batch: list[Piece], rows: int) -> None:
        self.observe_batch(rows)
        if self.curve.predict(rows) * self._speed <= self.at_once and (idle := self._idle_executor()) is not None:
            try:
                found = self._timed(batch, idle)
            except Exception as error:
                _fail(batch, error)
            else:
                self._settle(batch, rows, found)
            return
        self._room -= 1
        handed = asyncio.get_running_loop().run_in_executor(self._threads, self._timed, batch)
        handed.add_done_callback(lambda done: self._collect(batch, rows, done))

    def _collect(self, batch: list[Piece], rows: int, done: asyncio.Future[_Timed | None]) -> None:
        self._room += 1
        error = done.exception()
        if error is not None:
            _fail(batch, error)
        else:
            self._settle(batch, rows, done.result())
        self._pump()

    def _settle(self, batch: list[Piece], rows: int, found: _Timed | None) -> None:
        if found is None:
            _fail(batch, DeadlineError("the deadline passed while the request waited"))
            return
        outputs, seconds = found
        ratio = seconds / self.curve.predict(rows)
        self._speed += _LEARNING * (min(max(ratio, 0.1), 20.0) - self._speed)
        self._finish(batch, outputs, seconds)

    def _idle_executor(self) -> Executor | None:
        """Take an executor for the event loop, which must not wait for one."""
        try:
            return self._executors.get_nowait()
        except Empty:
            return None

    def _timed(self, batch: list[Piece], idle: Executor | None = None) -> _Timed | None:
        """Compute a batch, in whatever thread; None if nobody waits for it any more."""
        executor = idle or self._executors.get()
        try:
            started = self._clock()
            if all(piece.job.done.done() or piece.job.deadline <= started for piece in batch):
                return None
            for piece in batch:
                if piece.job.started is None:
                    piece.job.started = started
            outputs = self._compute(executor, batch)
        finally:
            self._executors.put(executor)
        return outputs, self._clock() - started

    def _compute(self, executor: Executor, batch: list[Piece]) -> Outputs:
        if len(batch) == 1 and batch[0].job.values is not None:
            return executor.compute_row(batch[0].job.values)
        return executor.compute(_stack(batch, self._specs))

    def _finish(self, batch: list[Piece], outputs: Outputs, seconds: float) -> None:
        row = 0
        for piece in batch:
            job, size = piece.job, piece.stop - piece.start
            job.parts.append({name: values[row : row + size] for name, values in outputs.items()})
            row += size
            job.finished += size
            job.compute += seconds
            if job.finished == job.rows and not job.done.done():
                queue = (job.started or job.arrived) - job.arrived
                job.done.set_result(Computed(_join(job.parts), queue, job.compute))


def _fail(batch: list[Piece], error: BaseException) -> None:
    for piece in batch:
        if not piece.job.done.done():
            piece.job.done.set_exception(error)


def _join(parts: list[Outputs]) -> Outputs:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _stack(batch: list[Piece], specs: Mapping[str, InputSpec]) -> dict[str, Array]:
    """Return one array of shape (instances, ...) for each input."""
    if all(piece.job.values is not None for piece in batch):
        columns = zip(*(piece.job.values or () for piece in batch), strict=True)
        return {name: np.array(column, spec.dtype) for (name, spec), column in zip(specs.items(), columns, strict=True)}
    stacked = {}
    for place, (name, spec) in enumerate(specs.items()):
        parts = []
        for piece in batch:
            job = piece.job
            if job.inputs is not None:
                parts.append(job.inputs[name][piece.start : piece.stop])
            else:
                parts.append(np.array([(job.values or ())[place]], spec.dtype))
        stacked[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return stacked


def _longest_piece(curve: CostCurve) -> int:
    """Return how many instances of one request are computed before others get their turn."""
    best = curve.best_batch
    return best * max(1, int(_LONGEST_PIECE / curve.seconds[best]))


async def measure_hop(clock: Callable[[], float], times: int = 200) -> float:
    """Return the seconds that handing work to a thread and hearing back cost, when nothing else happens."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as threads:
        found = []
        for _ in range(times):
            started = clock()
            await loop.run_in_executor(threads, _nothing)
            found.append(clock() - started)
    return sorted(found)[times // 2]


def _nothing() -> None:
    pass
