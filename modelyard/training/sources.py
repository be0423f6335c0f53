"""The files of a data source: which version they are of, and bringing them here, whole and once."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, TypeVar

from modelyard.contract.wire import Phase
from modelyard.model.storage import Changed, NotFound, Refused, Unreachable
from modelyard.model.storage.files import FileStore
from modelyard.training.errors import ConfigurationError, DataChangedError
from modelyard.training.places import Place, find
from modelyard.training.progress import ProgressFile

__all__ = ["CACHE", "Source", "cache_folder"]

#: Environment variable: where downloaded data is kept; absent: `modelyard/data` in the user's cache folder.
CACHE = "MODELYARD_CACHE"
#: Seconds before each further try at a store that does not answer: two minutes in all.
WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
_CHUNK = 1 << 20
_ASKED_AT_ONCE = 16

Answer = TypeVar("Answer")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where downloaded data is kept on this machine."""
    if given := environment.get(CACHE):
        return Path(given)
    home = environment.get("HOME")
    default = Path(home) / ".cache" if home else Path(tempfile.gettempdir())
    return Path(environment.get("XDG_CACHE_HOME") or default) / "modelyard" / "data"


class Source:
    """One entry of `spec.data`."""

    def __init__(
        self,
        name: str,
        uri: str,
        *,
        environment: Mapping[str, str],
        progress: ProgressFile,
        settle: Callable[[Source, Mapping[str, str]], None] = lambda *_: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`settle` is told the versions that are found first, and raises if they are not those to train on."""
        self.name = name
        self.uri = uri
        self._cache = cache_folder(environment)
        self._environment = environment
        self._progress = progress
        self._settle, self._sleep = settle, sleep

    def __str__(self) -> str:
        return f"spec.data[{self.name}] ({self.uri})"

    @cached_property
    def place(self) -> Place:
        """Where the files lie."""
        return self.ask(lambda: find(self.uri, self._environment))

    @cached_property
    def versions(self) -> dict[str, str]:
        """Each file's path in the store and its version when this process first looked; raise ConfigurationError."""
        found = self._look()
        if not found:
            raise ConfigurationError(f"{self} has no files: correct its uri")
        self.ask(lambda: self._settle(self, found))
        return found

    @cached_property
    def version(self) -> str:
        """One word for the versions of all files."""
        return _short(json.dumps(self.versions, sort_keys=True))

    @property
    def is_here(self) -> bool:
        """Whether the files are read where they lie."""
        return isinstance(self.place.store, FileStore)

    def paths(self) -> list[Path]:
        """Return the files on this machine, downloaded if they are elsewhere; raise StorageError."""
        versions, store = self.versions, self.place.store
        if isinstance(store, FileStore):
            return [store.local_path(path) for path in versions]
        missing = [path for path in versions if not self._copy(path).exists()]
        if missing:
            before = self._progress.progress
            self._download(missing)
            self._progress.tell(phase=before.phase, message=before.message)
        return [self._copy(path) for path in versions]

    def path(self) -> Path:
        """Return the file, or the folder that holds the files, on this machine; raise StorageError."""
        paths, place = self.paths(), self.place
        if place.file is not None:
            return paths[0]
        return place.store.local_path(place.folder) if isinstance(place.store, FileStore) else self._copy(place.folder)

    def derived(self, what: str) -> Path:
        """Return the folder on this machine for what is made of the files in their present version."""
        return self._copy(f".{_short(what)}")

    def verify(self) -> None:
        """Raise DataChangedError if files that are read where they lie are not what they were when first read."""
        if "versions" in self.__dict__ and self.is_here:
            self.compare(self.versions, self._look(), "while it was read")

    def compare(self, before: Mapping[str, str], now: Mapping[str, str], when: str) -> None:
        """Raise DataChangedError that names what changed, if anything did."""
        words = [f"{path} is new" for path in now.keys() - before.keys()]
        words += [f"{path} is gone" for path in before.keys() - now.keys()]
        words += [f"{path} changed" for path in now.keys() & before.keys() if now[path] != before[path]]
        if words:
            more = f" and {len(words) - 3} more" if len(words) > 3 else ""
            raise DataChangedError(
                f"{self}: {', '.join(sorted(words)[:3])}{more} {when}: a run trains on one version of its data; write "
                "new data to an address of its own, or start a new run (annotation modelyard.dev/retrain)"
            )

    def _look(self) -> dict[str, str]:
        """Return the files of this moment with their versions."""
        place = self.place
        paths = self.ask(place.list)
        try:
            with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
                tokens = threads.map(self.version_of, paths)
                return dict(zip(paths, tokens, strict=True))
        except NotFound as error:
            raise ConfigurationError(f"{self}: {error}: correct its uri") from error

    def version_of(self, path: str) -> str:
        """Return what names a file's present content; "" if the store knows nothing like it. Raise StorageError."""
        return self.ask(lambda: self._told_by_web(self.place.store.token, path) or "")

    def _size_of(self, path: str) -> int:
        return self.ask(lambda: self._told_by_web(self.place.store.size, path) or 0)

    def _told_by_web(self, ask: Callable[[str], Answer], path: str) -> Answer | None:
        """Ask for what a web server may leave unsaid."""
        try:
            return ask(path)
        except Refused:
            if self.uri.startswith("http"):
                return None
            raise

    def _copy(self, path: str) -> Path:
        """Return where the copy of a file or folder is kept: in a folder of its version."""
        return self._cache / _short(self.uri) / self.version / path

    def _download(self, paths: Sequence[str]) -> None:
        """Copy files here, told in bytes."""
        sizes = [self._size_of(path) for path in paths]
        done, total = 0, sum(sizes)

        def tell(copied: int) -> None:
            share = f"{100 * (done + copied) // total} % of {_amount(total)}" if total else "empty"
            self._progress.tell(phase=Phase.DOWNLOADING, message=f"{self.name}: {share}")

        for path, size in zip(paths, sizes, strict=True):
            self._fetch(path, size, tell)
            done += size

    def _fetch(self, path: str, size: int, tell: Callable[[int], None]) -> None:
        """Copy a file beside its name and move it there when it is whole and still the same version."""
        target = self._copy(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".unfinished-{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as writer:
                self.ask(lambda: self._copy_on(path, size, writer, tell))
            self._compare_one(path)
            temporary.replace(target)
        except Changed:
            self._compare_one(path)
            raise
        finally:
            temporary.unlink(missing_ok=True)

    def _copy_on(self, path: str, size: int, writer: BinaryIO, tell: Callable[[int], None]) -> None:
        """Copy the bytes that are still missing, all of them if the store gives no parts."""
        with self.place.store.open(path) as reader:
            if reader.seekable():
                reader.seek(writer.tell())
            else:
                writer.seek(0)
                writer.truncate()
            tell(writer.tell())
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
                tell(writer.tell())
        if size and writer.tell() != size:
            raise Unreachable(f"{self.place.store.uri}/{path}: {writer.tell()} bytes came of {size}")

    def _compare_one(self, path: str) -> None:
        self.compare({path: self.versions[path]}, {path: self.version_of(path)}, "while it was downloaded")

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Ask a store, again for two minutes while it does not answer; raise StorageError."""
        for wait in WAITS:
            try:
                return question()
            except Unreachable as error:
                self._progress.tell(message=f"{self.name}: waiting for the store: {error}"[:1024])
                self._sleep(wait)
        return question()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _amount(size: int) -> str:
    value, units = float(size), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}"
