"""The prediction log: a share of the requests, each a JSON line with its features and its answer."""

import base64
import logging
import random
import sys
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import Any

import orjson

from modelyard.contract.wire import Header
from modelyard.model.encoders import Array
from modelyard_server.asking import Ask

__all__ = ["LineWriter", "PredictionLog"]


#: Bytes of a file before the next one is begun, and how many older ones are kept.
_FILE_SIZE, _OLDER_FILES = 64 << 20, 4


class LineWriter:
    """Appends lines to a file that is bounded, or to standard output; OSError if the file can't be opened."""

    def __init__(self, path: str | None) -> None:
        self._handler: logging.StreamHandler[Any] = (
            logging.StreamHandler(sys.stdout)
            if path is None
            else RotatingFileHandler(path, maxBytes=_FILE_SIZE, backupCount=_OLDER_FILES, encoding="utf-8")
        )

    def __call__(self, line: str) -> None:
        """Write a line and flush it."""
        self._handler.handle(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class PredictionLog:
    """Writes a share of the predictions of one model version."""

    def __init__(
        self,
        share: float,
        names: Mapping[str, str],
        *,
        write: Callable[[str], None],
        chance: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._share, self._names = share, dict(names)
        self._write, self._chance, self._now = write, chance, now

    def add(self, features: Mapping[str, Any], outputs: Mapping[str, Array], ask: Ask) -> None:
        """Write a request down, or not: raw features by name (a value, or a list for several instances)."""
        if self._chance() >= self._share:
            return
        document = {
            "time": self._now().isoformat(),
            "id": ask.headers.get(Header.REQUEST_ID) or uuid.uuid4().hex,
            **self._names,
            "features": features,
            "outputs": {name: values.tolist() for name, values in outputs.items()},
        }
        self._write(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY, default=_readable).decode())


def _readable(value: Any) -> Any:
    """Return what stands for a value that JSON does not have."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {"b64": base64.b64encode(value).decode()}
    return str(value)
