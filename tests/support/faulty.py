"""A TCP proxy that misbehaves on request: what stands before a store when it is overloaded or far away."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.control_plane import free_port

_UNAVAILABLE = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class FaultyProxy:
    """Forwards connections to a server; `is_unavailable` and `delay` change what happens to those under way too."""

    target: str
    address: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    is_unavailable: bool = False
    delay: float = 0.0
    """Seconds before each piece of an answer."""
    refused: int = 0
    """Requests answered with 503."""

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        host, port = self.target.split(":")
        with client, socket.create_connection((host, int(port))) as server:
            answers = threading.Thread(target=self._answer, args=(server, client), daemon=True)
            answers.start()
            while piece := _receive(client):
                if self.is_unavailable:
                    self.refused += 1
                    _send(client, _UNAVAILABLE)
                    break
                if not _send(server, piece):
                    break
            for end in (server, client):
                _shut(end)
            answers.join()

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        while piece := _receive(server):
            time.sleep(self.delay)
            if not _send(client, piece):
                return


def _receive(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


def _send(end: socket.socket, piece: bytes) -> bool:
    try:
        end.sendall(piece)
    except OSError:
        return False
    return True


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """Run a proxy before a server."""
    proxy = FaultyProxy(target)
    host, port = proxy.address.split(":")
    listener = socket.create_server((host, int(port)))
    thread = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        _shut(listener)
        listener.close()
        thread.join(10)
