"""Where and when requests are computed: batches, turns, refusals; on a clock and executors of the test's own."""

import asyncio
import threading
import time
from collections import deque
from typing import Any

import numpy as np
import pytest

from modelyard.contract.options import Admission, Batching, Objective, ServingOptions
from modelyard.model.costs import CostCurve, measure_costs, pieces
from modelyard.model.features import InputSpec
from modelyard_server.asking import DeadlineError, RequestError
from modelyard_server.computing import Computing, Gatekeeper, Job, form_batch
from modelyard_server.loading import batches_pay

SPECS = {"x": InputSpec("float32", ())}
LONG = time.perf_counter() + 3600


class Doubling:
    """An executor that answers twice the input and remembers its batches."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[float]] = []
        self.threads: set[int] = set()
        self.held = threading.Event()
        self.held.set()

    def compute(self, inputs: Any) -> dict[str, Any]:
        self.held.wait()
        time.sleep(self.seconds)
        self.threads.add(threading.get_ident())
        self.batches.append(inputs["x"].tolist())
        return {"y": inputs["x"] * 2}

    def compute_row(self, values: Any) -> dict[str, Any]:
        return self.compute({"x": np.array(values, "float32")})


def computing(
    *executors: Doubling, inline: Doubling | None = None, at_once: float = 0.0, curve: Any = None, **options: Any
) -> Computing:
    return Computing(
        inline,  # type: ignore[arg-type]
        executors,  # type: ignore[arg-type]
        SPECS,
        curve or CostCurve({1: 0.001, 2: 0.0015, 4: 0.002}),
        ServingOptions(**options),
        at_once=at_once,
        clock=time.perf_counter,
    )


def job(rows: int) -> Job:
    return Job(rows, {"x": np.zeros(rows, "float32")}, None, 0.0, LONG, done=None)  # type: ignore[arg-type]


def sizes(batch: Any) -> list[tuple[int, int]]:
    return [(piece.start, piece.stop) for piece in batch]


@pytest.mark.parametrize(
    ("batch", "largest", "expected"), [(7, 4, [4, 2, 1]), (8, 4, [4, 4]), (3, 8, [2, 1]), (0, 4, [])]
)
def test_a_batch_is_cut_into_powers_of_two(batch: int, largest: int, expected: list[int]):
    assert pieces(batch, largest) == expected


def test_the_cost_curve_ends_where_larger_batches_no_longer_pay():
    seconds, costs = 0.0, {1: 1.0, 2: 1.2, 4: 2.39, 8: 4.0}

    def compute(size: int) -> None:
        nonlocal seconds
        seconds += costs[size]

    curve = measure_costs(compute, 8, lambda: seconds)
    assert curve.seconds == pytest.approx({1: 1.0, 2: 1.2})
    assert curve.best_batch == 2
    assert curve.predict(5) == pytest.approx(2 * 1.2 + 1.0)


def test_without_mixing_each_piece_is_of_one_job_and_the_rest_goes_to_the_end():
    large, small = job(10), job(1)
    pending = deque([large, small])
    assert [sizes(form_batch(pending, 4, mix=False)) for _ in range(4)] == [[(0, 4)], [(0, 1)], [(4, 8)], [(8, 10)]]
    assert not pending


def test_a_mixed_batch_gives_every_job_its_share_before_any_gets_more():
    large, *small = job(100), job(1), job(1), job(2)
    pending = deque([large, *small])
    batch = form_batch(pending, 16, mix=True)
    rows = {id(piece.job): 0 for piece in batch}
    for piece in batch:
        rows[id(piece.job)] += piece.stop - piece.start
    assert list(rows.values()) == [12, 1, 1, 2]
    assert list(pending) == [large]


def test_the_gate_refuses_when_the_queue_is_full_and_when_the_answer_would_be_late():
    gate = Gatekeeper(Admission(max_queue=2), workers=1)
    gate.admit(3.0, remaining=10.0)
    with pytest.raises(DeadlineError, match="no answer is possible in time") as late:
        gate.admit(1.0, remaining=3.5)
    assert (late.value.status, late.value.headers) == (503, {"Retry-After": "3"})
    gate.admit(1.0, remaining=10.0)
    with pytest.raises(RequestError, match="queue is full") as full:
        gate.admit(0.1, remaining=10.0)
    assert (full.value.status, full.value.headers) == (429, {"Retry-After": "4"})
    gate.leave(3.0)
    gate.admit(1.0, remaining=2.5)


@pytest.mark.parametrize(
    ("options", "seconds", "expected"),
    [
        ({"objective": "Latency"}, {1: 1.0, 2: 1.1}, False),
        ({"objective": "Throughput"}, {1: 1.0, 2: 1.1}, True),
        ({"objective": "Throughput"}, {1: 0.1, 2: 0.11}, False),
        ({"objective": "Throughput", "batching": Batching(max_size=2)}, {1: 0.1, 2: 0.11}, True),
    ],
)
def test_batches_are_formed_where_they_save_more_than_joining_costs(
    options: dict[str, Any], seconds: dict[int, float], expected: bool
):
    assert batches_pay(ServingOptions(**options), CostCurve(seconds), hop=0.2) is expected


async def test_what_is_dear_is_computed_in_a_thread_and_what_is_cheap_in_the_loop():
    executor = Doubling()
    dear = computing(executor, at_once=0.0)
    answer = await dear.run_row([3.0], time.perf_counter(), LONG)
    assert answer.outputs["y"].tolist() == [6.0]
    assert len(executor.threads) == 1
    assert threading.get_ident() not in executor.threads
    inline = Doubling()
    cheap = computing(executor, inline=inline, at_once=1.0)
    await cheap.run({"x": np.ones(3, "float32")}, 3, time.perf_counter(), LONG)
    assert inline.threads == {threading.get_ident()}
    dear.close(), cheap.close()


async def test_with_latency_requests_are_computed_alone_and_a_large_one_gives_way():
    executor = Doubling()
    executor.held.clear()
    alone = computing(executor, curve=CostCurve({1: 0.02}))
    now = time.perf_counter()
    first = asyncio.create_task(alone.run_row([0.0], now, LONG))
    await asyncio.sleep(0.01)
    large = asyncio.create_task(alone.run({"x": np.arange(3, dtype="float32")}, 3, now, LONG))
    small = asyncio.create_task(alone.run_row([7.0], now, LONG))
    await asyncio.sleep(0.01)
    executor.held.set()
    answers = await asyncio.gather(first, large, small)
    assert executor.batches == [[0.0], [0.0], [7.0], [1.0], [2.0]]
    assert answers[1].outputs["y"].tolist() == [0.0, 2.0, 4.0]
    assert answers[1].queue > 0.005
    alone.close()


async def test_with_throughput_requests_that_arrive_together_are_computed_together():
    executor = Doubling()
    mixing = computing(executor, objective=Objective.THROUGHPUT, batching=Batching(max_delay_milliseconds=200))
    now = time.perf_counter()
    answers = await asyncio.gather(*(mixing.run_row([float(n)], now, LONG) for n in range(4)))
    assert executor.batches == [[0.0, 1.0, 2.0, 3.0]]
    assert [answer.outputs["y"].tolist() for answer in answers] == [[0.0], [2.0], [4.0], [6.0]]
    mixing.close()


async def test_a_lone_request_waits_no_longer_than_the_delay():
    executor = Doubling()
    mixing = computing(executor, objective=Objective.THROUGHPUT, batching=Batching(max_delay_milliseconds=20))
    now = time.perf_counter()
    await asyncio.gather(*(mixing.run_row([float(n)], now, LONG) for n in range(4)))
    before = time.perf_counter()
    await mixing.run_row([1.0], before, LONG)
    assert 0.015 < time.perf_counter() - before < 0.2
    assert executor.batches[-1] == [1.0]
    mixing.close()


async def test_rows_and_batches_mix():
    executor = Doubling()
    mixing = computing(executor, objective=Objective.THROUGHPUT)
    now = time.perf_counter()
    both = await asyncio.gather(
        mixing.run({"x": np.array([1.0, 2.0], "float32")}, 2, now, LONG), mixing.run_row([5.0], now, LONG)
    )
    assert [answer.outputs["y"].tolist() for answer in both] == [[2.0, 4.0], [10.0]]
    mixing.close()


async def test_a_job_whose_deadline_passes_while_it_waits_is_not_computed():
    executor = Doubling()
    executor.held.clear()
    alone = computing(executor, curve=CostCurve({1: 0.001}))
    now = time.perf_counter()
    first = asyncio.create_task(alone.run_row([1.0], now, LONG))
    await asyncio.sleep(0.01)
    late = asyncio.create_task(alone.run_row([2.0], now, time.perf_counter() + 0.02))
    gone = asyncio.create_task(alone.run_row([3.0], now, LONG))
    await asyncio.sleep(0.03)
    gone.cancel()
    await asyncio.sleep(0)
    executor.held.set()
    await first
    with pytest.raises(DeadlineError, match="deadline passed"):
        await late
    assert executor.batches == [[1.0]]
    assert alone.gate.waiting == 0
    alone.close()


async def test_a_failing_computation_fails_its_requests_and_no_others():
    executor = Doubling()
    executor.compute = lambda inputs: 1 / 0  # type: ignore[method-assign]
    failing = computing(executor)
    with pytest.raises(ZeroDivisionError):
        await failing.run_row([1.0], time.perf_counter(), LONG)
    del executor.compute
    assert (await failing.run_row([1.0], time.perf_counter(), LONG)).outputs["y"].tolist() == [2.0]
    failing.close()


async def test_the_gate_learns_how_slow_the_machine_is_now():
    executor = Doubling(seconds=0.02)
    slow = computing(executor, curve=CostCurve({1: 0.001}), admission=Admission(max_queue=10))
    for _ in range(12):
        await slow.run_row([1.0], time.perf_counter(), LONG)
    with pytest.raises(DeadlineError):
        await slow.run_row([1.0], time.perf_counter(), time.perf_counter() + 0.005)
    slow.close()
