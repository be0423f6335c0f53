"""The protocol of every store."""

from pathlib import Path
from typing import BinaryIO, Protocol

from modelyard.model.storage.errors import Refused

__all__ = ["UNFINISHED", "Store", "check_path"]

#: How the names of files begin that are being written: no store lists them.
UNFINISHED = ".unfinished-"


class Store(Protocol):
    """Objects below one URI. Paths are relative, with forward slashes; every method may raise StorageError."""

    uri: str

    def read(self, path: str) -> bytes:
        """Return an object's bytes; NotFound if there is none."""

    def write(self, path: str, data: bytes) -> None:
        """Write an object, replacing what was there."""

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file into the store."""

    def download(self, path: str, target: Path) -> None:
        """Copy an object to a local file; Changed if it was replaced meanwhile."""

    def open(self, path: str) -> BinaryIO:
        """Return a buffered stream of an object's bytes to read, seekable where the store can; the caller closes it.

        Reading raises Changed when the object was replaced meanwhile: old and new bytes are never mixed.
        """

    def size(self, path: str) -> int:
        """Return an object's size in bytes."""

    def token(self, path: str) -> str:
        """Return what names an object's present content: another token, another content."""

    def create_once(self, path: str, data: bytes) -> bool:
        """Create an object whole, exactly once; False if somebody else's is there. `data` must be unique."""

    def list(self, folder: str) -> list[str]:
        """Return the paths of all objects below a folder, sorted; none if there is no such folder."""

    def delete(self, path: str) -> None:
        """Delete an object; nothing happens if there is none."""


def check_path(path: str) -> str:
    """Return a path that stays inside its store; raise Refused otherwise."""
    segments = path.split("/")
    if path.startswith("/") or "\\" in path or any(segment in ("", ".", "..") for segment in segments):
        raise Refused(f"{path!r} is no relative path: empty segments, . and .. are not allowed")
    return path
