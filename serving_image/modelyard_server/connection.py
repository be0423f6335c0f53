"""One HTTP connection: aiohttp's, with a short way for the requests that a prediction service mostly gets.

aiohttp parses every head that is new (`heads.py` knows the others) and answers whatever is out of the ordinary: bodies
that come in pieces, connections that close, clients that don't read. A whole request on a connection that waits for one
is answered here, from within the call that delivered its last byte, without a task, a request object or a response
object; that is two thirds of what an answer costs otherwise. Should the answer have to wait for a computation, the
connection waits with it, in order.

This leans on three inner parts of aiohttp's handler, which the pinned version has and the tests hold: `_waiter`, the
future that its own loop awaits between requests; `_messages`, the parsed requests; `_request_in_progress`, which
shutdown waits for. While a request is answered here the waiter is parked, so that aiohttp's loop sleeps on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler, RequestPayloadError

from modelyard_server.asking import Ask, Reply
from modelyard_server.heads import Heads

__all__ = ["Connection", "Listener"]

_PHRASES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_DATE_PERIOD = 0.5
#: Seconds that the head of a request may take; so may its body, and a second more for each 64 KiB of it.
_PATIENCE = 30.0
_SLOWEST = 1 << 16

Answer = Callable[[Ask], Coroutine[Any, Any, Reply]]


class Listener:
    """What the connections of one serving port share."""

    def __init__(
        self,
        answer: Answer,
        clock: Callable[[], float],
        largest_body: int,
        turn_away: Callable[[], Reply | None] = lambda: None,
        *,
        patience: float = _PATIENCE,
    ) -> None:
        self._answer = answer
        self.turn_away = turn_away
        """Asked when a body begins to arrive; a reply is given at once, and the body is read past, not looked at."""
        self.clock = clock
        self.patience = patience
        """Seconds that slow clients are given."""
        self.heads = Heads()
        self.draining = False
        """Whether each answer closes its connection, so that clients connect elsewhere."""
        self._largest_body = largest_body
        self._too_large = Reply(f'{{"error":"the body is larger than {largest_body} bytes"}}'.encode(), 413)
        self._beginnings: dict[tuple[int, str], str] = {}
        self._date_until = 0.0

    def application(self) -> web.Application:
        """Return the application that answers by aiohttp's own way."""
        logging.getLogger("aiohttp.server").addFilter(_OURS)
        app = web.Application(client_max_size=self._largest_body)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        return app

    def answer(self, ask: Ask) -> Coroutine[Any, Any, Reply]:
        """Answer, unless there is too much to read."""
        return self._refuse() if len(ask.body) > self._largest_body else self._answer(ask)

    async def _refuse(self) -> Reply:
        return self._too_large

    def connect(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """Return the protocol factory of a socket: aiohttp's server with this kind of connection."""
        return lambda: Connection(self, server, **server._kwargs)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        reply = self.turn_away() if request.can_read_body else None
        too_slow = False
        if reply is None:
            try:
                reply = await self._read_and_answer(request)
            except TimeoutError:
                reply, too_slow = Reply(b'{"error":"the body did not arrive in time"}', 408), True
        response = web.Response(
            body=reply.body, status=reply.status, headers={"Content-Type": reply.content_type, **reply.headers}
        )
        if self.draining or too_slow:
            response.force_close()
            response.headers["Connection"] = "close"
        return response

    async def _read_and_answer(self, request: web.Request) -> Reply:
        arrived = self.clock()
        try:
            async with asyncio.timeout(self.patience + (request.content_length or 0) / _SLOWEST):
                body = await self._read(request)
        except RequestPayloadError as error:
            return Reply(orjson.dumps({"error": f"the body could not be read: {error}"}), 400)
        if body is None:
            # the rest is not even read past: little of it may unpack to much
            request.protocol._lingering_time = 0.0
            return self._too_large
        _count_off(request)
        path, _, query = request.raw_path.partition("?")
        return await self.answer(Ask(request.method, path, query, request.headers, body, arrived))

    async def _read(self, request: web.Request) -> bytes | None:
        """Return the body, or None if it is too large; raise RequestPayloadError if it is none."""
        parts, size, is_packed = [], 0, "Content-Encoding" in request.headers
        while part := await request.content.readany():
            parts.append(part)
            size += len(part)
            if size > self._largest_body:
                return None
            if is_packed:
                # unpacking goes on without waiting for the client
                await asyncio.sleep(0)
        return b"".join(parts)

    def render(self, reply: Reply, now: float) -> bytes:
        """Return the bytes of an answer on a connection that stays open."""
        if now >= self._date_until:
            self._date_until = now + _DATE_PERIOD
            self._beginnings.clear()
        kind = (reply.status, reply.content_type)
        beginning = self._beginnings.get(kind) or self._begin(kind)
        told = "".join([f"{name}: {value}\r\n" for name, value in reply.headers.items()])
        if reply.status == HTTPStatus.NOT_MODIFIED:
            return f"{beginning}{told}\r\n".encode("latin-1")
        return f"{beginning}{len(reply.body)}\r\n{told}\r\n".encode("latin-1") + reply.body

    def _begin(self, kind: tuple[int, str]) -> str:
        """Return what all answers of a status and type begin with in this second, up to the length."""
        status, content_type = kind
        beginning = f"{_PHRASES[status]}Date: {formatdate(usegmt=True)}\r\n"
        if status != HTTPStatus.NOT_MODIFIED:
            beginning += f"Content-Type: {content_type}\r\nContent-Length: "
        self._beginnings[kind] = beginning
        return beginning


def _count_off(request: web.Request) -> None:
    """Tell the parser that a message was taken, once more: taken before it was whole, it was counted in afterwards.

    The parser stops after 32 unread messages; with one too many in its count the last that is pipelined is never read.
    """
    protocol = request.protocol
    if protocol._parser is not None and request.body_exists:
        protocol._parser.message_consumed()
        protocol.data_received(b"")


class _Ours(logging.Filter):
    """Keeps what clients do wrong out of the log: it says nothing of this server, and anybody could fill a disk."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be written."""
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError | RequestPayloadError | ConnectionError)


_OURS = _Ours()


class Connection(RequestHandler):
    """aiohttp's connection with the short way."""

    __slots__ = ("_answering", "_giving_up", "_listener", "_owed", "_parked")

    def __init__(self, listener: Listener, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self._listener = listener
        self._parked: asyncio.Future[None] | None = None
        self._answering: asyncio.Task[Reply] | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._owed: int | None = 0
        """Bytes that the client has still to send of its request; 0: a request begins with the next one; None: only
        the parser knows."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; an answer is sent when it is written, so that its client works while the next one is computed."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            transport.set_write_buffer_limits(0)

    def data_received(self, data: bytes) -> None:
        """Take bytes; answer what is whole if nobody else is at work on this connection."""
        waiter, ask = self._waiter, None
        if waiter is None or waiter.done() or self._messages:
            # aiohttp's loop is at work, or a computation of ours: it takes the next request when it is done
            self._feed(data)
            return
        if self._owed == 0:
            ask = self._read(data)
        self._parked, self._waiter = waiter, None
        if ask is None:
            self._feed(data)
        if ask is not None or self._messages:
            self._proceed(ask)
        else:
            self._parked, self._waiter = None, waiter
            self._limit_head()

    def _feed(self, data: bytes) -> None:
        """Give bytes to the parser, and note what is owed then."""
        owed, known = self._owed, len(self._messages)
        super().data_received(data)
        if owed is None or (not data and len(self._messages) == known):
            return
        if owed > 0:
            self._owed = owed - len(data) if owed >= len(data) else None
        else:
            one = len(self._messages) == known + 1
            self._owed = self._listener.heads.learn(data, self._messages[-1][0]) if one else None

    def _read(self, data: bytes) -> Ask | None:
        """Return the request that these bytes are, if its head is known, it is whole, and is to be answered here."""
        found = self._listener.heads.read(data, self._listener.clock())
        if found is None:
            return None
        ask, missing = found
        return ask if missing == 0 and self._is_ordinary() else None

    def _limit_head(self) -> None:
        """Begin to wait for the rest of a head, if that has not begun."""
        if self._giving_up is None:
            self._giving_up = self._loop.call_later(self._listener.patience, self._give_up)

    def _give_up(self) -> None:
        """Close the connection unless a request has come meanwhile."""
        self._giving_up = None
        if self._waiter is not None and not self._waiter.done():
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        if self._giving_up is not None:
            self._giving_up.cancel()
        super().connection_lost(exc)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading, which each read of a body asks for, paused or not."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def force_close(self) -> None:
        """Close at once; nobody waits for an answer any more."""
        if self._answering is not None:
            self._answering.cancel()
        if self._parked is not None:
            self._parked, self._waiter = None, self._parked
        super().force_close()

    def _proceed(self, ask: Ask | None = None) -> None:
        """Answer this request and those the parser has, until one has to wait, or is aiohttp's, or none is left."""
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        listener = self._listener
        if ask is None:
            ask = self._take_plain()
        while ask is not None:
            if ask.body and (refusal := listener.turn_away()) is not None:
                self._write(refusal)
            else:
                coroutine = listener.answer(ask)
                try:
                    waiting = coroutine.send(None)
                except StopIteration as done:
                    self._write(done.value)
                else:
                    self._request_in_progress = True
                    self._answering = self._loop.create_task(_resume(coroutine, waiting))
                    self._answering.add_done_callback(self._answered)
                    return
            ask = self._take_plain() if self._messages else None
        self._unpark()

    def _is_ordinary(self) -> bool:
        """Return whether the connection stays open, and the client reads its answers."""
        closing = self._close or self._force_close or self._listener.draining or self._upgraded
        return not closing and not self._paused and self._parser is not None and self._manager is not None

    def _take_plain(self) -> Ask | None:
        """Take the parser's next request if it is whole and keeps the connection."""
        if not self._messages or not self._is_ordinary():
            return None
        message, payload = self._messages[0]
        if (
            not isinstance(message, RawRequestMessage)
            or not payload.is_eof()
            or payload.exception() is not None
            or message.should_close
            or message.upgrade
            or message.method == "HEAD"
        ):
            return None
        assert self._parser is not None
        assert self._manager is not None
        self._messages.popleft()
        self._parser.message_consumed()
        self._manager.requests_count += 1
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        path, _, query = message.path.partition("?")
        arrived = self._listener.clock()
        return Ask(message.method, path, query, message.headers, payload.read_nowait(-1), arrived)

    def _answered(self, task: asyncio.Task[Reply]) -> None:
        """Go on after an answer that had to be waited for."""
        self._answering = None
        self._request_in_progress = False
        if self._parked is not None and not task.cancelled() and task.exception() is None:
            self._write(task.result())
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self._parked is not None:
            self._proceed()

    def _write(self, reply: Reply) -> None:
        now = self._loop.time()
        self._next_keepalive_close_time = now + self._keepalive_timeout
        if self.transport is not None:
            self.transport.write(self._listener.render(reply, now))

    def _unpark(self) -> None:
        """Let aiohttp's loop go on: with the requests that are left, or waiting for one."""
        waiter, self._parked = self._parked, None
        self._waiter = waiter
        if waiter is None or waiter.done():
            return
        if self._close or self._force_close:
            waiter.cancel()
        elif self._messages:
            waiter.set_result(None)


class _Started:
    """Awaits the rest of a coroutine that was started without a task and waits for something."""

    def __init__(self, coroutine: Coroutine[Any, Any, Reply], waiting: Any) -> None:
        self._coroutine, self._waiting = coroutine, waiting

    def __await__(self) -> Generator[Any, Any, Reply]:
        waiting = self._waiting
        while True:
            try:
                yield waiting
            except BaseException as error:
                # failures and cancellation reach the coroutine where it waits
                proceed: Callable[[], Any] = _bind(self._coroutine.throw, error)
            else:
                proceed = _bind(self._coroutine.send, None)
            try:
                waiting = proceed()
            except StopIteration as done:
                answered: Reply = done.value
                return answered


def _bind(call: Callable[[Any], Any], argument: Any) -> Callable[[], Any]:
    return lambda: call(argument)


async def _resume(coroutine: Coroutine[Any, Any, Reply], waiting: Any) -> Reply:
    rest: Awaitable[Reply] = _Started(coroutine, waiting)
    return await rest
