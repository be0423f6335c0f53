"""How the tasks of a distributed run find and watch each other."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract.distribution import Distribution, Task, list_tasks
from modelyard.contract.wire import ExitCode, Phase, Progress
from modelyard_trainer import peers
from modelyard_trainer.peers import Peers, fetch_progress
from modelyard_trainer.script import code_of
from modelyard_trainer.status import StatusServer

PAIR = list_tasks(Distribution(workers=2), "r", "t", "n")
COORDINATED = list_tasks(
    Distribution(workers=1, strategy="ParameterServer", parameter_servers=1, evaluator=True), "r", "t", "n"
)


class World:
    """What each task tells of itself: (attempt, phase), or nothing."""

    def __init__(self, **tasks: tuple[str, Phase]) -> None:
        self.tasks = {name.replace("_", " "): told for name, told in tasks.items()}
        self.asked: set[str] = set()

    async def fetch(self, task: Task) -> Progress | None:
        self.asked.add(str(task))
        told = self.tasks.get(str(task))
        return Progress(run="r", attempt=told[0], phase=told[1]) if told else None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PERIOD", 0.01)
    monkeypatch.setattr(peers, "PATIENCE", 0.03)


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 10))


def test_the_chief_waits_for_workers_that_begin_and_loses_one_that_was_replaced():
    async def story() -> None:
        world, told = World(worker_1=("old", Phase.TRAINING)), asyncio.Queue[str]()
        chief = Peers(PAIR, 0, world.fetch)
        finding = asyncio.create_task(chief.find(told.put_nowait))
        assert await told.get() == "waits for worker 1"
        assert not finding.done()
        world.tasks["worker 1"] = ("new", Phase.STARTING)
        await finding
        watching = asyncio.create_task(chief.watch())
        world.tasks["worker 1"] = ("new", Phase.TRAINING)
        await asyncio.sleep(0.1)
        assert not watching.done()
        world.tasks["worker 1"] = ("newer", Phase.STARTING)
        assert await watching == "worker 1"

    play(story())


def test_a_worker_looks_at_the_chief_alone_and_loses_it_when_it_is_silent_for_long():
    async def story() -> None:
        world = World(worker_0=("a", Phase.STARTING))
        worker = Peers(PAIR, 1, world.fetch)
        await worker.find(lambda text: None)
        watching = asyncio.create_task(worker.watch())
        del world.tasks["worker 0"]
        assert await watching == "worker 0"
        assert world.asked == {"worker 0"}

    play(story())


def test_a_coordinator_goes_on_without_a_worker_but_not_without_a_parameter_server():
    async def story() -> None:
        world = World(worker_0=("w", Phase.STARTING), ps_0=("p", Phase.STARTING), chief=("c", Phase.TRAINING))
        coordinator = Peers(COORDINATED, 0, world.fetch)
        await coordinator.find(lambda text: None)
        # a worker that comes back joins a training that is under way
        await Peers(COORDINATED, 1, world.fetch).find(lambda text: None)
        watching = asyncio.create_task(coordinator.watch())
        world.tasks["worker 0"] = ("other", Phase.STARTING)
        await asyncio.sleep(0.1)
        assert not watching.done()
        del world.tasks["ps 0"]
        assert await watching == "ps 0"

    play(story())


def test_an_evaluator_begins_at_once():
    play(Peers(COORDINATED, 3, World().fetch).find(lambda text: None))


def test_a_task_is_asked_on_its_status_port(monkeypatch: pytest.MonkeyPatch):
    told = Progress(run="r", attempt="a", phase=Phase.TRAINING)

    async def story() -> None:
        server = StatusServer(lambda: told, Path("none"), 18081)
        await server.start()
        monkeypatch.setattr(peers, "STATUS_PORT", 18081)
        assert await fetch_progress(Task(type="worker", index=0, address="127.0.0.1:2222")) == told
        await server.stop()
        assert await fetch_progress(Task(type="worker", index=0, address="127.0.0.1:2222")) is None

    play(story())


def test_a_lost_peer_is_no_failure_of_the_process_that_tells_of_it():
    import tensorflow as tf

    error = tf.errors.UnavailableError(None, None, "the peer is gone")
    assert code_of(error, is_distributed=True) == ExitCode.INTERRUPTED
    assert code_of(error, is_distributed=False) == ExitCode.FAILED
    assert code_of(ValueError(), is_distributed=True) == ExitCode.FAILED
    assert code_of(ImportError(), is_distributed=True) == ExitCode.CONFIGURATION
