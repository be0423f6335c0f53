"""Objects as streams: what a store can fetch from any place on, behind an ordinary binary file."""

import io
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

from modelyard.model.storage.errors import Unreachable

__all__ = ["CHUNK", "open_stream"]

#: Bytes that are asked for at a time.
CHUNK = 1 << 20


def open_stream(where: str, size: int, fetch: Callable[[int], Iterator[bytes]]) -> BinaryIO:
    """Return a seekable file of `size` bytes; `fetch(offset)` yields what lies there, to the end.

    Nothing is fetched before something is read, and nothing twice while reading goes straight on. `where` names the
    object in errors.
    """
    return io.BufferedReader(_Stream(where, size, fetch), CHUNK)


class _Stream(io.RawIOBase):
    def __init__(self, where: str, size: int, fetch: Callable[[int], Iterator[bytes]]) -> None:
        self._where = where
        self._size = size
        self._fetch = fetch
        self._place = 0
        self._chunks: Iterator[bytes] | None = None
        self._left = memoryview(b"")
        self._fetched = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self._where}: there is nothing before the beginning")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._place >= self._size:
            return 0
        if self._chunks is None or self._place != self._fetched:
            self._chunks, self._left, self._fetched = self._fetch(self._place), memoryview(b""), self._place
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise Unreachable(f"{self._where} ends at byte {self._place} of {self._size}")
            self._left = memoryview(chunk)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        self._place += count
        self._fetched += count
        return count

    def close(self) -> None:
        self._chunks, self._left = None, memoryview(b"")
        super().close()
