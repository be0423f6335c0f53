"""Files: a local folder or a mounted PersistentVolumeClaim. Everything that is written is made durable."""

import errno
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from modelyard.model.storage.errors import Changed, Full, NotFound, Refused, StorageError, Unreachable
from modelyard.model.storage.reading import CHUNK
from modelyard.model.storage.store import UNFINISHED, check_path

__all__ = ["FileStore"]

_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR})
_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_LINKS = frozenset({errno.ENOTSUP, errno.EMLINK})


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
        with self._told(path), self._finished(path, io.BytesIO(data)) as temporary:
            temporary.replace(self.local_path(path))

    def upload(self, source: Path, path: str) -> None:
        """Copy a file into the folder."""
        with self._told(path), source.open("rb") as reader, self._finished(path, reader) as temporary:
            temporary.replace(self.local_path(path))

    def download(self, path: str, target: Path) -> None:
        """Copy a file out of the folder; links are not followed."""
        with self.open(path) as reader, target.open("wb") as writer:
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
        with self._told(path), self._finished(path, io.BytesIO(data)) as temporary:
            try:
                os.link(temporary, self.local_path(path))
            except FileExistsError:
                # over NFS the reply can be lost: two links mean that ours was made
                return temporary.stat().st_nlink == 2
        return True

    def list(self, folder: str) -> list[str]:
        """Return every file below a folder but the unfinished ones."""
        with self._told(folder):
            found = []
            for name, _, files in os.walk(self.local_path(folder), onerror=_unless_gone):
                below = Path(name).relative_to(self._root)
                found += [(below / file).as_posix() for file in files if not file.startswith(UNFINISHED)]
            return sorted(found)

    def delete(self, path: str) -> None:
        """Delete a file, and its folder when that was the last file in it."""
        with self._told(path):
            target = self.local_path(path)
            target.unlink(missing_ok=True)
            if target.parent != self._root:
                # it is not removed while there is anything in it
                with suppress(OSError):
                    target.parent.rmdir()

    @contextmanager
    def _finished(self, path: str, content: BinaryIO) -> Iterator[Path]:
        """Offer a durable file under a name of its own beside the path; what is left of it is removed."""
        target = self.local_path(path)
        temporary = target.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
        try:
            with _create(temporary) as writer:
                shutil.copyfileobj(content, writer, CHUNK)
                writer.flush()
                os.fsync(writer.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)

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
            raise _error(where, error) from error


def _error(where: str, error: OSError) -> StorageError:
    text = error.strerror or str(error)
    if error.errno in _ROOM:
        return Full(f"{where}: {text}: free some space, or enlarge the claim or its quota")
    if error.errno in _NO_LINKS:
        return Refused(f"{where}: {text}: a volume whose files cannot be linked cannot publish; use another")
    return (Refused if error.errno in _REFUSALS else Unreachable)(f"{where}: {text}")


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


def _create(path: Path) -> BinaryIO:
    """Create a file and its folders; somebody who deletes the folder's last file may remove it meanwhile."""
    for _ in range(10):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return path.open("xb")
    return path.open("xb")


def _unless_gone(error: OSError) -> None:
    """Raise what keeps a folder from being listed: a list with holes would be taken for whole."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
