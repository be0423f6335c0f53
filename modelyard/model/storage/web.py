"""http and https, for reading."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, cast

from modelyard.model.storage.errors import Changed, NotFound, Refused, StorageError, Unreachable
from modelyard.model.storage.reading import CHUNK, open_stream
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

    def open(self, path: str) -> BinaryIO:
        """Stream what an address answers; seekable if it tells the size and gives parts of an unchanged object."""
        response = self._open(path)
        tag, length = response.headers["ETag"], response.headers["Content-Length"]
        if response.headers["Accept-Ranges"] != "bytes" or not length:
            return cast(BinaryIO, response)
        response.close()

        def fetch(offset: int) -> Iterator[bytes]:
            headers = {"Range": f"bytes={offset}-", **({"If-Match": tag} if tag else {})}
            with self._open(path, headers) as part:
                if part.status != HTTPStatus.PARTIAL_CONTENT:
                    raise Unreachable(f"{self._where(path)} gives no parts, though it says that it does")
                while chunk := part.read(CHUNK):
                    yield chunk

        return open_stream(self._where(path), int(length), fetch)

    def size(self, path: str) -> int:
        """Return what an address says of its size; Refused if it does not."""
        with self._open(path) as response:
            length = response.headers["Content-Length"]
        if not length:
            raise Refused(f"{self._where(path)} does not tell its size")
        return int(length)

    def token(self, path: str) -> str:
        """Return an address's ETag, or time of its last change and size; Refused if it tells neither."""
        with self._open(path) as response:
            headers = response.headers
        if tag := headers["ETag"]:
            return str(tag)
        if not headers["Last-Modified"]:
            raise Refused(f"{self._where(path)} tells neither an ETag nor when it last changed")
        return f"{headers['Last-Modified']}-{headers['Content-Length']}"

    def download(self, path: str, target: Path) -> None:
        """Stream what an address answers to a local file."""
        with self._open(path) as response, target.open("wb") as writer:
            shutil.copyfileobj(response, writer, CHUNK)

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

    def _where(self, path: str) -> str:
        return f"{self.uri}/{check_path(path)}" if path else self.uri

    def _open(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        where = self._where(path)
        try:
            return urllib.request.urlopen(urllib.request.Request(where, headers=dict(headers or {})), timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            raise _error_of(where, error) from error
        except OSError as error:
            raise Unreachable(f"{where}: {error}") from error


def _error_of(where: str, error: urllib.error.HTTPError) -> StorageError:
    if error.code in (404, 410):
        return NotFound(f"{where} does not exist")
    if error.code == HTTPStatus.PRECONDITION_FAILED:
        return Changed(f"{where} was replaced while it was read")
    kind = Refused if 400 <= error.code < 500 and error.code not in (408, 429) else Unreachable
    return kind(f"{where} answers {error.code} {error.reason}")
