"""What the URI of a data source names: one file, a folder, or the files that fit a pattern."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.model.storage import Refused, Store, open_store
from modelyard.model.storage.files import FileStore

__all__ = ["Place", "find"]

_SPECIAL = re.compile(r"[*?\[]")
_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|\[[^]]*\]|[^*?\[]+|\[")
_MEANINGS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "[": r"\["}


@dataclass(frozen=True, slots=True)
class Place:
    """Where files lie in a store."""

    store: Store
    folder: str
    """Path in the store; empty: its root."""
    file: str | None = None
    """Path in the store, if it is a single file."""
    pattern: re.Pattern[str] | None = None
    """What paths below the folder must fit."""

    def list(self) -> list[str]:
        """Return the paths of the files, sorted; raise StorageError."""
        if self.file is not None:
            return [self.file]
        return [path for path in self.store.list(self.folder) if self._fits(self.within(path))]

    def within(self, path: str) -> str:
        """Return a path below the folder."""
        return path.removeprefix(f"{self.folder}/") if self.folder else path

    def _fits(self, path: str) -> bool:
        if self.pattern is not None:
            return self.pattern.fullmatch(path) is not None
        # what tools leave beside their data: _SUCCESS, .part-0.crc
        return not any(segment[0] in "._" for segment in path.split("/"))


def find(uri: str, environment: Mapping[str, str]) -> Place:
    """Return the place that a URI or a local path names; raise StorageError."""
    special = _SPECIAL.search(uri)
    base = uri[: special.start()].rpartition("/")[0] if special else uri.rstrip("/")
    parent, name = _split(base)
    store = open_store(parent, environment)
    if not name and not isinstance(store, FileStore):
        raise Refused(f"{uri}: name a folder below {parent}: the root of a store is not listed")
    if special:
        return Place(store, name, pattern=_compile(uri[len(base) :].lstrip("/")))
    is_file = uri.startswith("http") or (name != "" and not store.list(name))
    return Place(store, "", file=name) if is_file else Place(store, name)


def _split(uri: str) -> tuple[str, str]:
    """Return the URI of the folder that something lies in, and its name there; no name for the root of a store."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        folder, slash, name = uri.rpartition("/")
        return folder or slash or ".", name
    root, slash, path = rest.partition("/")
    if not path:
        return uri, ""
    folder, _, name = path.rpartition("/")
    return f"{scheme}://{root}{slash}{folder}".rstrip("/"), name


def _compile(pattern: str) -> re.Pattern[str]:
    """Return what paths must fit: `*` within a folder, `**` through folders."""
    parts = _PARTS.findall(pattern)
    return re.compile("".join(_MEANINGS.get(p) or (p if p[0] == "[" else re.escape(p)) for p in parts))
