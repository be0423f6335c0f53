"""HDFS, through hdfs-native. A file is written under another name, closed, and moved to its own in one step.

Creating once is a move that fails if the name is taken. A writer that is killed leaves an open file under a name that
nobody else uses: it is in nobody's way.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from modelyard.model.storage.errors import Full, NotFound, Refused, StorageError, Unreachable
from modelyard.model.storage.reading import CHUNK, open_stream
from modelyard.model.storage.store import UNFINISHED, check_path

try:
    import hdfs_native
except ModuleNotFoundError as error:
    raise Refused("hdfs:// needs the package hdfs-native: pip install 'modelyard[hdfs]'") from error

__all__ = ["HdfsStore"]

#: Variables that are Hadoop properties: a Secret's keys may have dots.
_PROPERTIES = ("dfs.", "fs.", "hadoop.", "ipc.")
#: A NameNode that does not answer is told of within seconds, not the library's four minutes; whoever asked tries again.
_DEFAULTS = {"dfs.client.failover.max.attempts": "3"}
#: What hdfs-native raises for an answer of the NameNode that it has no class for.
_REMOTE = re.compile(r'RPCError\("(?P<kind>[^"]+)", ["\'](?P<text>.*)["\']\)$', re.DOTALL)
_FOLDERS = 0o755
#: Where a Java stack trace begins, in plain and in quoted text.
_TRACE = re.compile(r"\n|\\n")


class HdfsStore:
    """A folder of a file system."""

    def __init__(self, uri: str, client: hdfs_native.Client, root: str) -> None:
        self.uri = uri
        self._client = client
        self._root = root

    @classmethod
    def at(cls, uri: str, environment: Mapping[str, str]) -> HdfsStore:
        """Open `hdfs://NAMENODE:PORT/PATH` or `hdfs://NAMESERVICE/PATH`.

        Variables that begin with `dfs.` and the like are Hadoop properties; HADOOP_USER_NAME and HADOOP_CONF_DIR are
        read by hdfs-native from the process.
        """
        name, _, path = uri.removeprefix("hdfs://").partition("/")
        given = {key: value for key, value in environment.items() if key.startswith(_PROPERTIES)}
        try:
            client = hdfs_native.Client(f"hdfs://{name}", {**_DEFAULTS, **given})
        except (OSError, RuntimeError, ValueError) as error:
            raise _error(uri, error) from error
        return cls(uri, client, f"/{path.strip('/')}".rstrip("/"))

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        with self.open(path) as reader:
            return reader.read()

    def write(self, path: str, data: bytes) -> None:
        """Write a file beside its name and move it there."""
        self._write(path, lambda writer: writer.write(data))

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file to the file system."""

        def copy(writer: hdfs_native.FileWriter) -> None:
            with source.open("rb") as reader:
                while chunk := reader.read(CHUNK):
                    writer.write(chunk)

        self._write(path, copy)

    def download(self, path: str, target: Path) -> None:
        """Copy a file to a local one."""
        with self.open(path) as reader, target.open("wb") as writer:
            while chunk := reader.read(CHUNK):
                writer.write(chunk)

    def open(self, path: str) -> BinaryIO:
        """Stream a file; one that is replaced meanwhile has other blocks, which are not found."""
        key = self._key(path)
        with self._told(path):
            reader = self._client.read(key)
            # a file that is still written has more bytes than can be read: that is an error, not an end
            size = self._client.get_file_info(key).length

        def fetch(offset: int) -> Iterator[bytes]:
            with self._told(path):
                yield from reader.read_range_stream(offset, max(0, len(reader) - offset))

        return open_stream(f"{self.uri}/{path}", size, fetch)

    def size(self, path: str) -> int:
        """Return a file's size in bytes."""
        with self._told(path):
            return self._client.get_file_info(self._key(path)).length

    def token(self, path: str) -> str:
        """Return a file's size and the time of its last change."""
        with self._told(path):
            status = self._client.get_file_info(self._key(path))
            return f"{status.length}-{status.modification_time}"

    def create_once(self, path: str, data: bytes) -> bool:
        """Move a finished file to its name, which fails if that is taken; a lost reply is settled by reading back."""
        with self._told(path), self._finished(path, lambda writer: writer.write(data)) as temporary:
            try:
                self._client.rename(temporary, self._key(path), False)
            except (FileExistsError, FileNotFoundError):
                # the name is taken, or the move was repeated after a lost reply: it may have been ours
                self._client.delete(temporary, False)
                return self.read(path) == data
        return True

    def list(self, folder: str) -> list[str]:
        """Return every file below a folder but the unfinished ones."""
        with self._told(folder):
            try:
                entries = [entry.path for entry in self._client.list_status(self._key(folder), True) if not entry.isdir]
            except FileNotFoundError:
                return []
        cut = len(self._root) + 1
        return sorted(entry[cut:] for entry in entries if not entry.rsplit("/", 1)[-1].startswith(UNFINISHED))

    def delete(self, path: str) -> None:
        """Delete a file, and its folder when that was the last file in it."""
        with self._told(path):
            self._client.delete(self._key(path), False)
            folder = self._key(path).rpartition("/")[0]
            if folder != self._root:
                # it is not deleted while there is anything in it
                with suppress(RuntimeError, OSError):
                    self._client.delete(folder, False)

    def _write(self, path: str, fill: Callable[[hdfs_native.FileWriter], object]) -> None:
        with self._told(path), self._finished(path, fill) as temporary:
            try:
                self._client.rename(temporary, self._key(path), True)
            except FileNotFoundError:
                # the move was repeated after a lost reply, if the file is there
                self._client.get_file_info(self._key(path))

    @contextmanager
    def _finished(self, path: str, fill: Callable[[hdfs_native.FileWriter], object]) -> Iterator[str]:
        """Offer a closed file under a name of its own beside the path; what is left of it is deleted."""
        temporary = f"{self._key(path).rpartition('/')[0]}/{UNFINISHED}{uuid.uuid4().hex}"
        options = hdfs_native.WriteOptions(overwrite=False, create_parent=True)
        try:
            writer = self._client.create(temporary, options)
            fill(writer)
            # closed only here: a file is never whole by an accident
            writer.close()
            yield temporary
        except BaseException:
            with suppress(RuntimeError, OSError):
                self._client.delete(temporary, False)
            raise

    def _key(self, path: str) -> str:
        return f"{self._root}/{check_path(path)}"

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """Turn what hdfs-native raises into one of ours that names the URI."""
        try:
            yield
        except StorageError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            raise _error(f"{self.uri}/{path}", error) from error


def _error(where: str, error: Exception) -> StorageError:
    remote = _REMOTE.search(str(error))
    kind = remote["kind"].rpartition(".")[2] if remote else type(error).__name__
    text = _TRACE.split(remote["text"] if remote else str(error), maxsplit=1)[0].replace('\\"', '"')[:300]
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{where} does not exist")
    if isinstance(error, PermissionError) or kind in ("AccessControlException", "AuthorizationException"):
        return Refused(
            f"{where}: HDFS denies access: check HADOOP_USER_NAME in spec.storage.secretNames and the folder's "
            f"owner: {text}"
        )
    if "QuotaExceeded" in kind:
        return Full(f"{where}: no room: free some, or raise the folder's quota: {text}")
    if "No NameNode hosts" in text:
        return Refused(
            f"{where}: the URI has no port, and no configuration knows this name service: write hdfs://HOST:PORT/PATH, "
            "or put the dfs.ha.namenodes.* and dfs.namenode.rpc-address.* properties into spec.storage.secretNames"
        )
    return Unreachable(f"{where}: {text}")
