"""The application's side: embedded and remote behind one interface, batches, repeats, deadlines."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

import modelyard
from modelyard.client import (
    CallError,
    Client,
    DeadlineExceeded,
    EmbeddedModel,
    Overloaded,
    Refused,
    RemoteModel,
    connect,
    connect_sync,
)
from modelyard.client.calling import RetryBudget, Retrying
from modelyard.contract.wire import Published
from tests.support.packages import SAMPLES
from tests.support.server import Server


@pytest.fixture(scope="module")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"), published.uri, published.digest).await_ready()
    yield running
    assert running.end() == 0


def both(server: Server, published: Published) -> list[Client]:
    return [connect(published.uri), connect(f"http://127.0.0.1:{server.http}", "clicks")]


async def test_an_application_moves_between_embedded_and_remote_by_one_line(server: Server, published: Published):
    expected = modelyard.open(published.uri).predict_many(SAMPLES)
    embedded, remote = both(server, published)
    assert isinstance(embedded, EmbeddedModel)
    assert isinstance(remote, RemoteModel)
    for client in (embedded, remote):
        async with client:
            assert await client.predict(SAMPLES[0]) == expected[0]
            assert await client.predict_many(SAMPLES) == expected
            assert await client.predict_many([]) == []
            assert await client.version() == "clicks-1-7"
            with pytest.raises(Refused, match="price: missing"):
                await client.predict({})


async def test_many_requests_travel_in_few_connections_and_batches(server: Server):
    async with RemoteModel(f"http://127.0.0.1:{server.http}", "clicks", connections=2, batch=64) as client:
        before = requests_of(server)
        answers = await asyncio.gather(*(client.predict({"price": float(n % 90)}) for n in range(500)))
        alone = await client.predict({"price": 7.0})
    assert answers[7] == alone
    assert len({answer["click"] for answer in answers}) == 90
    assert requests_of(server) - before < 25


async def test_in_a_batch_a_wrong_instance_fails_alone(server: Server):
    async with RemoteModel(f"http://127.0.0.1:{server.http}", "clicks", batch=16) as client:
        calls = [client.predict({"price": n} if n != 3 else {"price": "dear"}) for n in range(6)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [dict, dict, dict, Refused, dict, dict]


def requests_of(server: Server) -> int:
    return int(server.ask("/summary", port=server.status)[1]["requests"])


def test_programs_without_asyncio_ask_the_same(server: Server, published: Published):
    expected = modelyard.open(published.uri).predict_many(SAMPLES)
    for address, name in ((published.uri, None), (f"http://127.0.0.1:{server.http}", "clicks")):
        with connect_sync(address, name) as client:
            assert client.predict(SAMPLES[0]) == expected[0]
            assert client.predict_many(SAMPLES) == expected
            assert client.version() == "clicks-1-7"
            with pytest.raises(Refused):
                client.predict({"colour": 1})


@asynccontextmanager
async def answering(*answers: Any) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that gives these answers in turn, the last one for ever: a status and headers, or seconds to hang."""
    asked: list[Any] = []

    async def handle(request: web.Request) -> web.Response:
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(request.headers.get("x-modelyard-deadline-ms"))
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = 200
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
        document = {"predictions": [1]} if status == 200 else {"error": f"status {status}"}
        return web.json_response(document, status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def test_what_may_pass_is_asked_again():
    async with answering(500, 0, 200) as (address, asked), RemoteModel(address, "m") as client:
        assert await client.predict({}) == 1
    assert len(asked) == 3


async def test_what_is_wrong_is_not_asked_again():
    async with answering(400) as (address, asked), RemoteModel(address, "m") as client:
        with pytest.raises(Refused, match="status 400"):
            await client.predict({})
    assert len(asked) == 1


async def test_the_wait_that_an_overloaded_server_asks_for_is_kept():
    async with answering((429, {"Retry-After": "1"}), 200) as (address, asked), RemoteModel(address, "m") as client:
        started = time.monotonic()
        assert await client.predict({}) == 1
        assert time.monotonic() - started >= 1.0
        assert len(asked) == 2


async def test_a_wait_beyond_the_deadline_is_not_begun():
    async with answering((503, {"Retry-After": "30"})) as (address, asked), RemoteModel(address, "m") as client:
        started = time.monotonic()
        with pytest.raises(Overloaded) as refused:
            await client.predict({}, timeout=1.0)
        assert refused.value.retry_after == 30
        assert time.monotonic() - started < 0.5
        assert len(asked) == 1


async def test_a_deadline_is_kept_and_told():
    async with answering(5.0) as (address, asked), RemoteModel(address, "m") as client:
        with pytest.raises(DeadlineExceeded):
            await client.predict({}, timeout=0.1)
    assert 0 < float(asked[0]) <= 100


async def test_a_failing_server_is_not_buried_under_repeats():
    async with answering(500) as (address, asked):
        budget = RetryBudget(share=0.1, reserve=2.0)
        async with RemoteModel(address, "m", budget=budget, retrying=Retrying(base=0.001)) as client:
            for _ in range(20):
                with pytest.raises(CallError):
                    await client.predict({})
    assert 20 <= len(asked) <= 24


def test_waits_grow_and_spread():
    retrying = Retrying(attempts=4, base=0.1, most=0.3)
    error = CallError("x")
    assert [retrying.wait(n, error, 10.0, lambda: 0.5) for n in (1, 2, 3, 4)] == pytest.approx([0.1, 0.2, 0.3, None])
    assert retrying.wait(1, error, 10.0, lambda: 0.0) == pytest.approx(0.05)
    assert retrying.wait(1, error, 0.01, lambda: 0.5) is None


async def test_leaving_ends_what_still_waits():
    async with answering(5.0) as (address, _):
        async with RemoteModel(address, "m", batch=4) as client:
            waiting = asyncio.create_task(client.predict({}))
            await asyncio.sleep(0.05)
        with pytest.raises(asyncio.CancelledError):
            await waiting
