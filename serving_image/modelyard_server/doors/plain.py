"""Open Inference tensors as nearly every client sends them, read without checks of their own.

Whatever is not exactly plain gives None and is left to the careful way, which also knows what to say of it.
"""

import struct
from typing import Any

from modelyard_server.asking import RequestError
from modelyard_server.doors.tensors import SCALARS

__all__ = ["Raw", "plain_columns", "plain_row"]

_ONE = [1]
_LENGTH = struct.Struct("<I")


def plain_row(tensors: list[Any]) -> dict[str, Any] | None:
    """Return the row of tensors that hold one plain value each."""
    row = {}
    try:
        for tensor in tensors:
            if tensor["shape"] != _ONE or "parameters" in tensor:
                return None
            [value] = tensor["data"]
            row[tensor["name"]] = value
    except (KeyError, TypeError, ValueError):
        return None
    return row if len(row) == len(tensors) else None


def plain_columns(tensors: list[Any]) -> dict[str, list[Any]] | None:
    """Return the columns of tensors that hold a flat list each."""
    columns = {}
    try:
        for tensor in tensors:
            [count] = tensor["shape"]
            data = tensor["data"]
            if type(data) is not list or type(count) is not int or len(data) != count or "parameters" in tensor:
                return None
            if not data or type(data[0]) is list:
                return None
            columns[tensor["name"]] = data
    except (KeyError, TypeError, ValueError):
        return None
    return columns if len(columns) == len(tensors) > 0 else None


class Raw:
    """The binary part of a request, read tensor by tensor."""

    def __init__(self, body: bytes, start: int = 0) -> None:
        self._body, self._place = body, start

    @property
    def rest(self) -> int:
        """Bytes not taken yet."""
        return len(self._body) - self._place

    def take(self, name: str, size: Any) -> memoryview:
        """Return the bytes of the next tensor; raise RequestError if there are not so many."""
        if type(size) is not int or not 0 <= size <= self.rest:
            raise RequestError(f"{name}: `binary_data_size` is {size!r}, {self.rest} bytes are left")
        start, self._place = self._place, self._place + size
        return memoryview(self._body)[start : self._place]

    def plain_row(self, tensors: list[Any]) -> dict[str, Any] | None:
        """Return the row of tensors that hold one value each, all of them binary; nothing is taken."""
        row: dict[str, Any] = {}
        body, place = self._body, self._place
        try:
            for tensor in tensors:
                if tensor["shape"] != _ONE:
                    return None
                size = tensor["parameters"]["binary_data_size"]
                kind = tensor["datatype"]
                if kind == "BYTES":
                    if _LENGTH.unpack_from(body, place)[0] != size - 4:
                        return None
                    row[tensor["name"]] = body[place + 4 : place + size].decode()
                else:
                    scalar = SCALARS[kind]
                    if scalar.size != size:
                        return None
                    row[tensor["name"]] = scalar.unpack_from(body, place)[0]
                place += size
        except (KeyError, TypeError, ValueError, struct.error):
            return None
        return row if place == len(body) and len(row) == len(tensors) else None
