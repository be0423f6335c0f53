"""A stream of a source's file that says of which source when the file changes meanwhile."""

import io
from typing import Any

from modelyard.model.storage import Changed
from modelyard.training.sources import Source

__all__ = ["Watched"]


class Watched(io.RawIOBase):
    """Reads a file in its store; whoever reads to the end has read one version of it."""

    def __init__(self, source: Source, path: str) -> None:
        super().__init__()
        self._source, self._path = source, path
        self._before = source.versions[path]
        self._stream = source.place.store.open(path)

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return whether the store gives parts of a file."""
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; raise DataChangedError if the file is another than at the beginning."""
        try:
            chunk = self._stream.read(len(buffer))
        except Changed:
            self._compare()
            raise
        if not chunk:
            self._compare()
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Close the stream below."""
        if not self.closed:
            self._stream.close()
        super().close()

    def _compare(self) -> None:
        now = self._source.version_of(self._path)
        self._source.compare({self._path: self._before}, {self._path: now}, "while it was read")
