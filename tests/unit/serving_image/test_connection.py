"""Connections: the short way and aiohttp's own answer the same, in order, and nothing is lost or leaked at the end."""

import asyncio
import gzip
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from aiohttp import web

from modelyard_server.asking import Ask, Reply
from modelyard_server.connection import Connection, Listener


class Echo:
    """Answers with what was asked; paths that begin with /slow wait until they may go on."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.go = asyncio.Event()

    async def __call__(self, ask: Ask) -> Reply:
        self.asked.append(ask.path)
        if ask.path.startswith("/slow"):
            try:
                await self.go.wait()
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.cancelled.append(ask.path)
                raise
        text = f"{ask.method} {ask.path} {ask.query} {ask.headers.get('X-Name', '')} {ask.body.decode()}"
        return Reply(text.encode(), 200, "text/plain", {"X-Echo": ask.path})


@asynccontextmanager
async def listening(
    echo: Any, limit: int = 1 << 16, turn_away: Callable[[], Reply | None] = lambda: None
) -> AsyncIterator[tuple[Listener, web.AppRunner, int]]:
    listener = Listener(echo, time.perf_counter, limit, turn_away)
    runner = web.AppRunner(listener.application(), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(listener.connect(runner.server), "127.0.0.1", 0)
    try:
        yield listener, runner, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()
        await Client.close_all()


class Client:
    """A connection that sends bytes and reads answers."""

    opened: ClassVar[list["Client"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        cls.opened.append(client)
        # the first request of a connection may meet aiohttp's loop before it waits
        await asyncio.sleep(0.02)
        return client

    @classmethod
    async def close_all(cls) -> None:
        for client in cls.opened:
            client.writer.transport.abort()
        cls.opened.clear()
        await asyncio.sleep(0)

    async def send(self, *requests: str) -> None:
        self.writer.write("".join(requests).encode())
        await self.writer.drain()

    async def read(self) -> tuple[int, dict[str, str], str]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:-2])
        headers = {name.lower(): value for name, value in headers.items()}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body.decode()


def get(path: str, *headers: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: test", *headers, "", ""])


def post(path: str, body: str) -> str:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", "", body])


async def test_the_short_way_and_aiohttps_own_answer_the_same():
    async with listening(Echo()) as (_, _, port):
        client = await Client.to(port)
        await client.send(post("/a?x=1", "body"))
        short = await client.read()
        # a body in pieces is aiohttp's
        whole = post("/a?x=1", "body")
        await client.send(whole[:-2])
        await asyncio.sleep(0.02)
        await client.send(whole[-2:])
        long = await client.read()
    assert "server" not in short[1], "the short way was not taken"
    assert "server" in long[1], "aiohttp's way was not taken"
    assert (short[0], short[2]) == (long[0], long[2]) == (200, "POST /a x=1  body")
    for name in ("content-type", "content-length", "x-echo"):
        assert short[1][name].partition(";")[0] == long[1][name].partition(";")[0]
    assert short[1]["date"].endswith("GMT")


async def test_chunked_bodies_head_and_old_clients_are_answered():
    async with listening(Echo()) as (_, _, port):
        client = await Client.to(port)
        await client.send("POST /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert (await client.read())[2] == "POST /c   abc"
        await client.send("HEAD /h HTTP/1.1\r\nHost: t\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
        await client.send(get("/after"))
        assert (await client.read())[2].startswith("GET /after")
        old = await Client.to(port)
        await old.send("GET /old HTTP/1.0\r\nHost: t\r\n\r\n")
        assert b"GET /old" in await old.reader.read()


async def test_pipelined_requests_are_answered_in_order_though_one_waits():
    echo = Echo()
    async with listening(echo) as (_, _, port):
        client = await Client.to(port)
        await client.send(get("/1"), get("/slow"), post("/3", "x"), get("/4"))
        assert (await client.read())[1]["x-echo"] == "/1"
        await asyncio.sleep(0.02)
        assert echo.asked == ["/1", "/slow"]
        echo.go.set()
        assert [(await client.read())[1]["x-echo"] for _ in range(3)] == ["/slow", "/3", "/4"]
        await client.send(get("/5"))
        assert (await client.read())[1]["x-echo"] == "/5"


async def test_both_ways_alternate_on_a_pipelined_connection():
    async with listening(Echo()) as (_, _, port):
        client = await Client.to(port)
        chunked = "POST /{} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        await client.send(*(get(f"/{n}") if n % 3 else chunked.format(n) for n in range(30)))
        answers = [await client.read() for _ in range(30)]
    assert [answer[1]["x-echo"] for answer in answers] == [f"/{n}" for n in range(30)]


async def test_hundreds_of_pipelined_requests_are_all_answered():
    async with listening(Echo()) as (_, _, port):
        client = await Client.to(port)
        sending = asyncio.create_task(client.send(*(get(f"/{n}") for n in range(2000))))
        answers = [(await client.read())[1]["x-echo"] for _ in range(2000)]
        await sending
    assert answers == [f"/{n}" for n in range(2000)]


async def test_a_client_that_leaves_ends_the_wait_for_its_answer():
    echo = Echo()
    async with listening(echo) as (_, runner, port):
        client = await Client.to(port)
        await client.send(get("/slow"))
        await asyncio.sleep(0.02)
        client.writer.transport.abort()
        await asyncio.sleep(0.05)
        assert echo.cancelled == ["/slow"]
        assert runner.server is not None
        assert runner.server.connections == []


async def test_shutting_down_waits_for_the_answer_and_then_closes():
    echo = Echo()
    async with listening(echo) as (_, runner, port):
        client, idle = await Client.to(port), await Client.to(port)
        await idle.send(get("/idle"))
        await idle.read()
        await client.send(get("/slow"))
        await asyncio.sleep(0.02)
        ending = asyncio.create_task(runner.cleanup())
        await asyncio.sleep(0.05)
        assert not ending.done()
        echo.go.set()
        assert (await client.read())[1]["x-echo"] == "/slow"
        await asyncio.wait_for(ending, 2)
        assert await client.reader.read() == b""
        assert await idle.reader.read() == b""


async def test_while_draining_each_answer_closes_its_connection():
    async with listening(Echo()) as (listener, _, port):
        client = await Client.to(port)
        await client.send(get("/1"))
        await client.read()
        listener.draining = True
        await client.send(get("/2"))
        status, headers, _ = await client.read()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.reader.read() == b""


async def test_a_body_above_the_limit_is_refused_on_both_ways():
    async with listening(Echo(), limit=100) as (_, _, port):
        client = await Client.to(port)
        await client.send(post("/short", "x" * 101))
        assert (await client.read())[0] == 413
        await client.send(post("/just", "x" * 100))
        assert (await client.read())[0] == 200
        client = await Client.to(port)
        whole = post("/long", "x" * 200)
        await client.send(whole[:150])
        await asyncio.sleep(0.02)
        await client.send(whole[150:])
        assert (await client.read())[0] == 413


async def test_what_is_no_http_is_refused_and_others_are_still_answered():
    async with listening(Echo()) as (_, _, port):
        client, other = await Client.to(port), await Client.to(port)
        await client.send(get("/1"))
        assert (await client.read())[0] == 200
        await client.send("this is no HTTP\r\n\r\n")
        assert (await client.read())[0] == 400
        assert await client.reader.read() == b""
        await other.send(get("/2"))
        assert (await other.read())[0] == 200


async def test_a_client_that_never_reads_does_not_fill_the_memory():
    class Large(Echo):
        async def __call__(self, ask: Ask) -> Reply:
            self.asked.append(ask.path)
            return Reply(b"x" * 100_000)

    echo = Large()
    async with listening(echo) as (_, _, port):
        client = await Client.to(port)
        sending = asyncio.create_task(client.send(*(get(f"/{n}") for n in range(5000))))
        await asyncio.sleep(0.5)
        asked = len(echo.asked)
        await asyncio.sleep(0.3)
        assert len(echo.asked) == asked < 500
        sending.cancel()
        client.writer.transport.abort()


async def test_an_idle_connection_is_closed_after_the_keep_alive_time():
    listener = Listener(Echo(), time.perf_counter, 1 << 16)
    runner = web.AppRunner(listener.application(), access_log=None, keepalive_timeout=0.3)
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(listener.connect(runner.server), "127.0.0.1", 0)
    client = await Client.to(server.sockets[0].getsockname()[1])
    for _ in range(4):
        await client.send(get("/"))
        await client.read()
        await asyncio.sleep(0.15)
    assert await asyncio.wait_for(client.reader.read(), 2) == b""
    server.close()
    await runner.cleanup()
    await Client.close_all()


def test_the_inner_parts_that_this_leans_on_are_there():
    parts = {"_waiter", "_messages", "_request_in_progress", "_handler_waiter", "_parser", "_next_keepalive_close_time"}
    slots = {slot for kind in Connection.__mro__ for slot in getattr(kind, "__slots__", ())}
    assert parts <= slots


async def test_a_body_is_read_past_when_there_is_no_room_for_it():
    echo, full = Echo(), True
    refusal = Reply(b"full", 429, "text/plain", {"Retry-After": "1"})
    async with listening(echo, turn_away=lambda: refusal if full else None) as (_, _, port):
        client = await Client.to(port)
        small = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        large = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
        for sent in (small, large + b"x" * 60_000, b"GET /c HTTP/1.1\r\nHost: x\r\n\r\n"):
            client.writer.write(sent[:40])
            await asyncio.sleep(0.01)
            client.writer.write(sent[40:])
            head = await client.reader.readuntil(b"\r\n\r\n")
            expected = b"200" if sent.startswith(b"GET") else b"429"
            assert head.split(b" ")[1] == expected
            [length] = re.findall(rb"Content-Length: (\d+)", head)
            await client.reader.readexactly(int(length))
        assert echo.asked == ["/c"]
        full = False
        client.writer.write(small)
        assert (await client.reader.readuntil(b"\r\n\r\n")).split(b" ")[1] == b"200"


async def test_a_head_that_was_parsed_before_means_the_same_and_bodies_still_differ():
    async with listening(Echo()) as (_, runner, port):
        client, other = await Client.to(port), await Client.to(port)
        for connection in (client, other):
            for number in range(4):
                await connection.send(post(f"/a?n={number}", f"body{number}"))
                assert (await connection.read())[2] == f"POST /a n={number}  body{number}"
        assert runner.server is not None
        assert runner.server.requests_count == 1, "the parser was asked again"
        await client.send(get("/b", "X-Name: x"), post("/c", "y"))
        assert (await client.read())[2] == "GET /b  x "
        assert (await client.read())[2] == "POST /c   y"


async def test_a_known_head_with_its_body_in_pieces_or_with_too_much_is_the_parsers():
    async with listening(Echo()) as (_, _, port):
        client = await Client.to(port)
        await client.send(post("/a", "body"))
        await client.read()
        whole = post("/a", "1234")
        for cut in (10, len(whole) - 4, len(whole) - 1):
            await client.send(whole[:cut])
            await asyncio.sleep(0.01)
            await client.send(whole[cut:] + post("/b", "4321"))
            assert (await client.read())[2].endswith("/a   1234")
            assert (await client.read())[2].endswith("/b   4321")
        # one that came in pieces does not confuse the next
        again = await Client.to(port)
        for _ in range(3):
            await again.send(whole[:-2])
            await asyncio.sleep(0.01)
            await again.send(whole[-2:])
            assert (await again.read())[2].endswith("/a   1234")
            await again.send(whole)
            assert (await again.read())[2].endswith("/a   1234")


async def test_known_header_lines_do_not_let_a_strange_request_line_pass():
    for line in ("GET /a\x01 HTTP/1.1", "GET /a HTTP/9.1", "BREW /a HTTP/1.1"):
        async with listening(Echo()) as (_, _, port):
            client = await Client.to(port)
            await client.send(get("/a"))
            await client.read()
            await client.send(get("/a").replace("GET /a HTTP/1.1", line))
            head = await client.reader.readuntil(b"\r\n")
            assert b" 400 " in head, line


async def test_slow_heads_are_closed_and_slow_bodies_are_told():
    listener = Listener(Echo(), time.perf_counter, 1 << 16, patience=0.1)
    runner = web.AppRunner(listener.application(), access_log=None, lingering_time=0.1)
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(listener.connect(runner.server), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    head, body, patient = await Client.to(port), await Client.to(port), await Client.to(port)
    await head.send("GET / HT")
    await body.send(post("/", "body")[:-1])
    assert await asyncio.wait_for(head.reader.read(), 2) == b""
    assert (await body.read())[0] == 408
    assert await asyncio.wait_for(body.reader.read(), 2) == b""
    await asyncio.sleep(0.1)
    await patient.send(get("/"))
    assert (await patient.read())[0] == 200
    server.close()
    await runner.cleanup()
    await Client.close_all()


async def test_what_is_pipelined_behind_a_body_in_pieces_is_answered_to_the_last():
    # the parser stops after 32 unread messages, and must count one that was taken before it was whole but once
    async with listening(Echo()) as (_, _, port):
        client = await Client.to(port)
        for _ in range(3):
            whole = post("/first", "body")
            await client.send(whole[:-2])
            await asyncio.sleep(0.02)
            await client.send(whole[-2:], *(get(f"/{number}") for number in range(32)))
            found = [(await client.read())[2] for _ in range(33)]
            assert [text.split()[1] for text in found] == ["/first", *(f"/{number}" for number in range(32))]


async def test_what_a_client_does_wrong_is_not_logged(caplog):
    async with listening(Echo()) as (_, _, port):
        for sent in ("nonsense\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"):
            client = await Client.to(port)
            await client.send(sent)
            assert (await client.read())[0] == 400
        client = await Client.to(port)
        await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        await asyncio.sleep(0.02)
        client.writer.transport.abort()
        await asyncio.sleep(0.02)
    assert caplog.records == []


async def test_bodies_that_do_not_unpack_are_refused_and_bombs_do_not_stop_the_loop():
    bomb = gzip.compress(bytes(256 << 20), 1)
    async with listening(Echo(), limit=32 << 20) as (_, _, port):
        for packed, expected in ((b"body", 400), (bomb, 413)):
            client = await Client.to(port)
            head = post("/a", "").replace(
                "Content-Length: 0", f"Content-Length: {len(packed)}\r\nContent-Encoding: gzip"
            )
            client.writer.write(head.encode() + packed)
            longest, before = 0.0, time.thread_time()
            reading = asyncio.create_task(client.read())
            while not reading.done():
                await asyncio.sleep(0)
                longest, before = max(longest, time.thread_time() - before), time.thread_time()
            assert reading.result()[0] == expected
            assert longest < 0.1
