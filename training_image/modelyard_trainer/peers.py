"""The other tasks of a distributed run: found before the script starts, and watched while it runs.

TensorFlow waits long for a peer that is gone, and a peer that comes back must not join the others half-way. So the
chief looks at everyone whom the training cannot do without, and everyone at the chief: when one of them is not the
attempt that it began with, the attempt ends, and all begin anew together from the last state.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
from pydantic import ValidationError

from modelyard.contract.distribution import Task
from modelyard.contract.wire import STATUS_PORT, Phase, Progress, Route

__all__ = ["Fetch", "Peers", "fetch_progress"]

#: Seconds between two looks, and for how long a peer may not answer.
PERIOD, PATIENCE = 2.0, 20.0
_TIMEOUT = aiohttp.ClientTimeout(total=2.0)

#: From a task to what it tells of itself; None if it does not answer.
Fetch = Callable[[Task], Awaitable[Progress | None]]


async def fetch_progress(task: Task) -> Progress | None:
    """Ask a task's status port."""
    host = task.address.rpartition(":")[0]
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(f"http://{host}:{STATUS_PORT}{Route.PROGRESS}") as answer,
        ):
            return Progress.model_validate_json(await answer.read())
    except (aiohttp.ClientError, OSError, TimeoutError, ValidationError):
        return None


class Peers:
    """The tasks that one task of a run begins with and depends on."""

    def __init__(self, tasks: Sequence[Task], place: int, fetch: Fetch = fetch_progress) -> None:
        self._fetch = fetch
        others = {index: task for index, task in enumerate(tasks) if index != place and task.type != "evaluator"}
        me, in_step = tasks[place], all(task.type != "ps" for task in tasks)
        self._awaited = others if place == 0 else {index: task for index, task in others.items() if index == 0}
        if me.type == "evaluator":
            self._awaited = {}
        # a coordinator goes on without a worker, but not without what holds the model
        self._needed = {i: task for i, task in self._awaited.items() if in_step or place or task.type == "ps"}
        self._from_the_start = in_step
        """Whether all must begin together."""
        self._attempts: dict[int, str] = {}

    async def find(self, tell: Callable[[str], None]) -> None:
        """Wait until everyone is there who must be; `tell` says for whom."""
        missing = dict(self._awaited)
        while missing:
            answers = await asyncio.gather(*map(self._fetch, missing.values()))
            for index, progress in zip(list(missing), answers, strict=True):
                if progress is not None and (progress.phase is Phase.STARTING or not self._from_the_start):
                    self._attempts[index] = progress.attempt
                    del missing[index]
            if missing:
                tell(f"waits for {', '.join(str(task) for task in list(missing.values())[:3])}")
                await asyncio.sleep(PERIOD / 2)
        tell("")

    async def watch(self) -> str:
        """Return who was lost, once somebody is."""
        clock = asyncio.get_running_loop().time
        seen = dict.fromkeys(self._needed, clock())
        while True:
            await asyncio.sleep(PERIOD)
            answers = await asyncio.gather(*map(self._fetch, self._needed.values()))
            for (index, task), progress in zip(self._needed.items(), answers, strict=True):
                if progress is not None and progress.attempt == self._attempts[index]:
                    seen[index] = clock()
                elif progress is not None or clock() - seen[index] > PATIENCE:
                    return str(task)
