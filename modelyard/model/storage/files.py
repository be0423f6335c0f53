"""Files: a local folder or a mounted PersistentVolumeClaim. Everything that is written is made durable."""

import errno
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from modelyard.model.storage.errors import Changed, NotFound, Refused, StorageError, Unreachable
from modelyard.model.storage.reading import CHUNK
from modelyard.model.storage.store import check_path

__all__ = ["FileStore"]

_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR})


class FileStore:
    """A folder."""

    def __init__(self, uri: str, root: Path) -> None:
        self.uri = uri
        self._root = root

    def local_path(self, path: str = "") -> Path:
        """Return where an object lies on this machine."""
        return self._root / check_path(path) if path else self._root

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        with self._told(path):
            return self.local_path(path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        """Write a file beside its name and move it there, so that no reader sees half of it."""
        with self._told(path):
            target = self._prepare(path)
            temporary = _temporary(target)
            _write_durably(temporary, data)
            temporary.replace(target)
            _sync_folder(target.parent)

    def upload(self, source: Path, path: str) -> None:
        """Copy a file into the folder."""
        with self._told(path):
            target = self._prepare(path)
            temporary = _temporary(target)
            with source.open("rb") as reader, temporary.open("xb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
                writer.flush()
                os.fsync(writer.fileno())
            temporary.replace(target)
            _sync_folder(target.parent)

    def download(self, path: str, target: Path) -> None:
        """Copy a file out of the folder; links are not followed."""
        with self.open(path) as reader, self._told(path), target.open("wb") as writer:
            shutil.copyfileobj(reader, writer, CHUNK)

    def open(self, path: str) -> BinaryIO:
        """Open a file to read; links are not followed."""
        with self._told(path):
            if self.local_path(path).is_symlink():
                raise Refused(f"{self.uri}/{path} is a link: links are not followed")
            return io.BufferedReader(_Watched(self.local_path(path), f"{self.uri}/{path}"), CHUNK)

    def size(self, path: str) -> int:
        """Return a file's size in bytes."""
        with self._told(path):
            return self.local_path(path).stat().st_size

    def token(self, path: str) -> str:
        """Return a file's identity, size and time of its last change."""
        with self._told(path):
            return _token(self.local_path(path).stat())

    def create_once(self, path: str, data: bytes) -> bool:
        """Link a finished file to its name: the link fails if the name is taken."""
        with self._told(path):
            target = self._prepare(path)
            temporary = _temporary(target)
            _write_durably(temporary, data)
            try:
                os.link(temporary, target)
                won = True
            except FileExistsError:
                # over NFS the reply can be lost: two links mean that ours was made
                won = temporary.stat().st_nlink == 2
            finally:
                temporary.unlink()
            _sync_folder(target.parent)
            return won

    def list(self, folder: str) -> list[str]:
        """Return every file below a folder but the unfinished ones."""
        with self._told(folder):
            top = self.local_path(folder)
            files = (file for file in top.rglob("*") if file.is_file() and not file.name.startswith(".unfinished-"))
            return sorted(file.relative_to(self._root).as_posix() for file in files)

    def delete(self, path: str) -> None:
        """Delete a file, and its folder when that was the last file in it."""
        with self._told(path):
            target = self.local_path(path)
            target.unlink(missing_ok=True)
            if target.parent != self._root and target.parent.is_dir() and not any(target.parent.iterdir()):
                target.parent.rmdir()

    def _prepare(self, path: str) -> Path:
        target = self.local_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """Turn an OSError into one of ours that names the URI."""
        where = f"{self.uri}/{path}" if path else self.uri
        try:
            yield
        except StorageError:
            raise
        except FileNotFoundError as error:
            raise NotFound(f"{where} does not exist") from error
        except OSError as error:
            kind = Refused if error.errno in _REFUSALS else Unreachable
            raise kind(f"{where}: {error.strerror or error}") from error


class _Watched(io.FileIO):
    """A file that says so when it is written to while it is read."""

    def __init__(self, path: Path, where: str) -> None:
        super().__init__(path)
        self._where = where
        self._token = _token(os.fstat(self.fileno()))

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self._check()
        return count or 0

    def readall(self) -> bytes:
        content = super().readall()
        self._check()
        return content or b""

    def _check(self) -> None:
        if _token(os.fstat(self.fileno())) != self._token:
            raise Changed(f"{self._where} was written to while it was read")


def _token(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def _temporary(target: Path) -> Path:
    return target.with_name(f".unfinished-{uuid.uuid4().hex}")


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as writer:
        writer.write(data)
        writer.flush()
        os.fsync(writer.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
