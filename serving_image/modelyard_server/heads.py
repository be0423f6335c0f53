"""Request heads that were parsed before: the same bytes mean the same again.

A client sends the same header lines with each request of a connection, and so do most clients of a kind. aiohttp's
parser reads each such block once; from then on a whole request that begins with a plain request line and goes on with
a known block needs no parser, no stream and no URL object. Everything else is left to the parser, which is told
nothing of the requests that it did not see: between two requests it has no state.
"""

from collections.abc import Mapping

from aiohttp.http import RawRequestMessage

from modelyard_server.asking import Ask

__all__ = ["Heads"]

_LONGEST_LINE, _LONGEST_BLOCK = 4096, 4096
_MOST_BLOCKS = _MOST_LINES = 512


class Heads:
    """The known blocks of header lines, for all connections of a port; bounded."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, tuple[Mapping[str, str], int]] = {}
        """From the end of the request line to the empty line: the headers, and how many bytes of body follow."""
        self._lines: dict[bytes, tuple[str, str, str]] = {}

    def read(self, data: bytes, arrived: float) -> tuple[Ask, int] | None:
        """Return a request that begins with these bytes and the bytes of its body that are missing (negative: too
        many), or None if its head is not known.
        """
        line_end = data.find(b"\r\n", 0, _LONGEST_LINE)
        block_end = data.find(b"\r\n\r\n", line_end, line_end + _LONGEST_BLOCK) + 4
        known = self._blocks.get(data[line_end:block_end])
        if known is None:
            return None
        line = data[:line_end]
        told = self._lines.get(line) or self._read_line(line)
        if told is None:
            return None
        method, path, query = told
        headers, length = known
        body = data[block_end:]
        return Ask(method, path, query, headers, body, arrived), length - len(body)

    def learn(self, data: bytes, message: object) -> int | None:
        """Remember the head of the message that the parser found at the beginning of these bytes.

        Returns the bytes of its body that are missing; None if this cannot be told from here, and nothing is learnt.
        """
        if not isinstance(message, RawRequestMessage):
            return None
        if message.should_close or message.upgrade or message.chunked or message.compression:
            return None
        line_end = data.find(b"\r\n", 0, _LONGEST_LINE)
        block_end = data.find(b"\r\n\r\n", line_end, line_end + _LONGEST_BLOCK) + 4
        block = data[line_end:block_end]
        # lines that end otherwise would let the parser see another end of the head than this
        lines = block.count(b"\r\n")
        if line_end < 0 or block_end < 4 or block.count(b"\n") != lines or block.count(b"\r") != lines:
            return None
        length = int(message.headers.get("Content-Length", "0"))
        missing = length - (len(data) - block_end)
        if missing >= 0 and self._read_line(data[:line_end]) is not None:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            self._blocks[block] = message.headers, length
        return missing if missing >= 0 else None

    def _read_line(self, line: bytes) -> tuple[str, str, str] | None:
        """Return method, path and query of a request line as every client sends it; None leaves it to the parser."""
        text = line.decode("latin-1")
        method, _, rest = text.partition(" ")
        target, _, version = rest.partition(" ")
        plain = target.isascii() and target.isprintable() and target[:1] == "/" and "#" not in target
        if not plain or version != "HTTP/1.1" or method not in ("GET", "POST"):
            return None
        path, _, query = target.partition("?")
        if len(self._lines) >= _MOST_LINES:
            self._lines.clear()
        self._lines[line] = method, path, query
        return method, path, query
