"""A server under attack over real sockets, and what was seen of it."""

import asyncio
import random
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.support.attacks import ATTACKS, Attack

__all__ = ["Seen", "siege"]

#: Answers are waited for so long, in seconds; what hangs longer without need is an offence.
_PATIENCE = 10.0
#: A 5xx is an offence, but for these: overload, an unknown method, an unknown version of HTTP.
_EXCUSED = (501, 503, 505)


@dataclass
class Seen:
    """What came back."""

    attacks: Counter[str] = field(default_factory=Counter)
    """By kind."""
    statuses: Counter[int] = field(default_factory=Counter)
    """0 stands for a connection that was closed without an answer."""
    offences: list[str] = field(default_factory=list)
    """What must not happen: internal errors, and answers that never came."""
    seconds: float = 0.0


async def siege(port: int, count: int, seed: int, *, workers: int = 24) -> Seen:
    """Attack a port so many times."""
    seen = Seen()
    kinds, weights = list(ATTACKS), list(ATTACKS.values())
    chance = random.Random(seed)
    started = time.perf_counter()
    left = iter(range(count))

    async def work(own: random.Random) -> None:
        line: Line | None = None
        for _ in left:
            [kind] = own.choices(kinds, weights)
            attack = kind(own)
            if line is None or not attack.keeps:
                line = await Line.open(port, line)
            await _strike(line, attack, kind.__name__, seen)
            if not attack.keeps or line.closed:
                await line.close()
                line = None
        if line is not None:
            await line.close()

    await asyncio.gather(*(work(random.Random(chance.random())) for _ in range(workers)))
    seen.seconds = time.perf_counter() - started
    return seen


class Line:
    """A connection of our own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer
        self.closed = False

    @classmethod
    async def open(cls, port: int, instead: "Line | None" = None) -> "Line":
        if instead is not None:
            await instead.close()
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            self.closed = True

    async def status(self) -> int:
        """Return the status of the next answer, 0 if there is none."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            length = 0
            for header in head.lower().split(b"\r\n"):
                if header.startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
                if header == b"connection: close":
                    self.closed = True
            await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.closed = True
            return 0
        return status

    async def close(self, *, reset: bool = False) -> None:
        self.closed = True
        if reset:
            # a close that does not linger is a reset
            own: socket.socket = self._writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.close()


async def _strike(line: Line, attack: Attack, name: str, seen: Seen) -> None:
    seen.attacks[name] += 1
    for place, chunk in enumerate(attack.chunks):
        if place and attack.pause:
            await asyncio.sleep(attack.pause)
        await line.send(chunk)
    if attack.hold:
        await asyncio.sleep(attack.hold)
    if attack.reset or not attack.answers:
        await line.close(reset=attack.reset)
        return
    for _ in range(attack.answers):
        # what is incomplete gets no answer: the connection is given up after a while
        waits = _PATIENCE if attack.keeps else 0.25
        try:
            status = await asyncio.wait_for(line.status(), waits)
        except TimeoutError:
            if attack.keeps:
                seen.offences.append(f"{name}: no answer within {waits} s to {attack.chunks[0][:300]!r}")
            await line.close()
            return
        seen.statuses[status] += 1
        if status >= 500 and status not in _EXCUSED:
            seen.offences.append(f"{name}: status {status} for {attack.chunks[0][:2000]!r}")
        if status == 0:
            return
