"""The work queue: each key at most once, never twice at a time, later and later after failures."""

import asyncio

import pytest

from modelyard_operator.workqueue import FIRST_DELAY, LONGEST_DELAY, WorkQueue

A, B = ("A",), ("B",)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def queue(time: Time) -> WorkQueue:
    return WorkQueue(time, lambda: 0.5)


def test_a_key_waits_once_and_in_order_of_arrival(queue: WorkQueue):
    for key in (A, B, A):
        queue.add(key)
    assert (queue.depth, queue.take(), queue.take(), queue.take()) == (2, A, B, None)


def test_a_key_added_during_its_pass_gets_another_pass_after_it(queue: WorkQueue):
    queue.add(A)
    assert queue.take() == A
    queue.add(A)
    assert queue.take() is None
    queue.done(A)
    assert queue.take() == A


def test_of_several_delays_the_earliest_counts_and_only_once(queue: WorkQueue, time: Time):
    queue.add_after(A, 10)
    queue.add_after(A, 5)
    queue.add_after(A, 20)
    assert (queue.take(), queue.next_delay()) == (None, 5)
    time.now = 5
    assert queue.take() == A
    queue.done(A)
    time.now = 30
    assert queue.take() is None


def test_failures_double_the_delay_until_forgiven(queue: WorkQueue):
    delays = [queue.retry(A) for _ in range(20)]
    assert delays[:3] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY]
    assert delays[-1] == LONGEST_DELAY
    queue.forgive(A)
    assert queue.retry(A) == FIRST_DELAY
    assert queue.retry(B, at_least=7) == 7


def test_the_oldest_pass_under_way_is_told(queue: WorkQueue, time: Time):
    queue.add(A)
    queue.take()
    time.now = 3
    assert queue.longest_running == 3
    queue.done(A)
    assert queue.longest_running == 0


async def test_get_waits_for_a_key_and_for_a_delay():
    loop = asyncio.get_running_loop()
    queue: WorkQueue = WorkQueue(loop.time, lambda: 0.5)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    assert await asyncio.wait_for(waiting, 1) == A
    queue.done(A)
    queue.add_after(B, 0.01)
    assert await asyncio.wait_for(queue.get(), 1) == B
