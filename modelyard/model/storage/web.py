"""http and https, for reading."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from modelyard.model.storage.errors import NotFound, Refused, StorageError, Unreachable
from modelyard.model.storage.store import check_path

__all__ = ["WebStore"]

_SECONDS = 30.0


class WebStore:
    """What lies below an address."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def read(self, path: str) -> bytes:
        """Return what an address answers."""
        with self._open(path) as response:
            return bytes(response.read())

    def download(self, path: str, target: Path) -> None:
        """Stream what an address answers to a local file."""
        with self._open(path) as response, target.open("wb") as writer:
            shutil.copyfileobj(response, writer, 1 << 20)

    def write(self, path: str, data: bytes) -> None:
        """Refuse."""
        raise self._read_only()

    def upload(self, source: Path, path: str) -> None:
        """Refuse."""
        raise self._read_only()

    def create_once(self, path: str, data: bytes) -> bool:
        """Refuse."""
        raise self._read_only()

    def list(self, folder: str) -> list[str]:
        """Refuse: http has no folders."""
        raise Refused(f"{self.uri}: an http address cannot be listed")

    def delete(self, path: str) -> None:
        """Refuse."""
        raise self._read_only()

    def _read_only(self) -> Refused:
        return Refused(f"{self.uri}: http addresses can only be read")

    def _open(self, path: str) -> Any:
        where = f"{self.uri}/{check_path(path)}" if path else self.uri
        try:
            return urllib.request.urlopen(where, timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            raise _error_of(where, error) from error
        except OSError as error:
            raise Unreachable(f"{where}: {error}") from error


def _error_of(where: str, error: urllib.error.HTTPError) -> StorageError:
    if error.code in (404, 410):
        return NotFound(f"{where} does not exist")
    kind = Refused if 400 <= error.code < 500 and error.code not in (408, 429) else Unreachable
    return kind(f"{where} answers {error.code} {error.reason}")
