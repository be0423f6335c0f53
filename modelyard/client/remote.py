"""A served model: few connections, many requests under way, batches by itself, repeats within a budget."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from modelyard.client.calling import CallError, DeadlineExceeded, Overloaded, Refused, RetryBudget, Retrying
from modelyard.contract.wire import Header

__all__ = ["RemoteModel"]

_OVERLOADED = (429, 503)
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An instance that waits to travel."""

    row: Row
    deadline: float
    answer: asyncio.Future[Any]

    def succeed(self, answer: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: CallError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class RemoteModel:
    """A model behind an address.

    With `batch` above 1, instances that are asked for at about the same time travel together: as soon as one of the
    connections is free, at most so many in a request. A batch that is refused is asked again one by one, so that a
    wrong instance fails alone.
    """

    def __init__(
        self,
        address: str,
        name: str,
        *,
        connections: int = 8,
        batch: int = 1,
        timeout: float = 5.0,
        retrying: Retrying | None = None,
        budget: RetryBudget | None = None,
        api_key: str | None = None,
    ) -> None:
        self._url = f"{address.rstrip('/')}/v1/models/{name}"
        self._timeout = timeout
        self._batch = batch
        self._retrying = retrying or Retrying()
        self._budget = budget or RetryBudget()
        self._headers = {"Content-Type": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._waiting: list[_Waiting] = []
        self._senders: set[asyncio.Task[None]] = set()

    async def predict(self, features: Row, *, timeout: float | None = None) -> Any:
        """Return the answer for one instance."""
        deadline = self._deadline(timeout)
        if self._batch == 1:
            return (await self._ask([features], deadline))[0]
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(features, deadline, answer))
        if len(self._senders) < self._connections:
            sender = asyncio.create_task(self._send())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await answer

    async def predict_many(self, rows: Sequence[Row], *, timeout: float | None = None) -> list[Any]:
        """Return the answers for many instances, in order, asked in one request."""
        return await self._ask(rows, self._deadline(timeout)) if rows else []

    async def version(self) -> str:
        """Return which version answers now."""
        answer = await self._call("GET", "", b"", self._deadline(None))
        return str(answer["model_version_status"][0]["version"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sender in tuple(self._senders):
            sender.cancel()
        for entry in self._waiting:
            entry.answer.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self._timeout if timeout is None else timeout)

    async def _send(self) -> None:
        """Send what waits, batch by batch, until nothing does."""
        # whatever is asked for in this turn of the loop travels together
        await asyncio.sleep(0)
        while self._waiting:
            batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
            batch = [entry for entry in batch if not entry.answer.done()]
            try:
                if batch:
                    await self._send_batch(batch)
            finally:
                # whoever still waits when this is cancelled is not left waiting
                for entry in batch:
                    entry.answer.cancel()

    async def _send_batch(self, batch: list[_Waiting]) -> None:
        try:
            answers = await self._ask([entry.row for entry in batch], max(entry.deadline for entry in batch))
        except Refused:
            await asyncio.gather(*(self._settle(entry) for entry in batch))
        except CallError as error:
            for entry in batch:
                entry.fail(error)
        else:
            for entry, answer in zip(batch, answers, strict=True):
                entry.succeed(answer)

    async def _settle(self, entry: _Waiting) -> None:
        """Ask for one instance alone."""
        try:
            [found] = await self._ask([entry.row], entry.deadline)
        except CallError as error:
            entry.fail(error)
        else:
            entry.succeed(found)

    async def _ask(self, rows: Sequence[Row], deadline: float) -> list[Any]:
        body = orjson.dumps({"instances": [dict(row) for row in rows]}, option=_OPTIONS)
        document = await self._call("POST", ":predict", body, deadline)
        predictions: list[Any] = document["predictions"]
        return predictions

    async def _call(self, method: str, path: str, body: bytes, deadline: float) -> Any:
        self._budget.count_call()
        failures = 0
        while True:
            try:
                return await self._call_once(method, path, body, deadline)
            except CallError as error:
                failures += 1
                remaining = deadline - time.monotonic()
                wait = self._retrying.wait(failures, error, remaining, random.random)
                if wait is None or not self._budget.take():
                    raise
                await asyncio.sleep(wait)

    async def _call_once(self, method: str, path: str, body: bytes, deadline: float) -> Any:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded("no time was left to ask")
        headers = {**self._headers, Header.DEADLINE: f"{remaining * 1e3:.3f}"}
        timeout = aiohttp.ClientTimeout(total=remaining)
        try:
            async with self._open().request(
                method, self._url + path, data=body or None, headers=headers, timeout=timeout
            ) as response:
                content = await response.read()
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer from {self._url} within the deadline") from error
        except (aiohttp.ClientError, OSError) as error:
            raise CallError(f"{self._url}: {type(error).__name__}: {error}") from error
        if response.status == 200:
            return orjson.loads(content)
        raise _failure(response.status, content, response.headers.get("Retry-After"))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


def _failure(status: int, content: bytes, retry_after: str | None) -> CallError:
    try:
        message = str(orjson.loads(content)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = content[:200].decode(errors="replace")
    if status in _OVERLOADED:
        seconds = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
        return Overloaded(message, seconds)
    if 400 <= status < 500:
        return Refused(message)
    return CallError(f"status {status}: {message}")
