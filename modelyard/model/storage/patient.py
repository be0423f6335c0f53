"""A store whose faults are waited out, within a bound, telling what is waited for."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from modelyard.model.storage.errors import Changed, Unreachable
from modelyard.model.storage.store import Store

__all__ = ["PatientStore"]

Result = TypeVar("Result")


class PatientStore:
    """Repeats what a fault of the store, or a full one, prevents.

    Every method of a store may be repeated: a lost reply of `create_once` is settled by the store itself. `tell` is
    called with what is waited for before each repeat, and with nothing when it is over. After `seconds` the last
    error is raised.
    """

    def __init__(self, store: Store, seconds: float, tell: Callable[[str], None]) -> None:
        self.uri = store.uri
        self._store = store
        self._seconds = seconds
        self._tell = tell

    def read(self, path: str) -> bytes:
        """Return an object's bytes."""
        return self._repeat(lambda: self._store.read(path))

    def write(self, path: str, data: bytes) -> None:
        """Write an object, replacing what was there."""
        self._repeat(lambda: self._store.write(path, data))

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file into the store."""
        self._repeat(lambda: self._store.upload(source, path))

    def download(self, path: str, target: Path) -> None:
        """Copy an object to a local file; one that was replaced meanwhile is read anew."""
        self._repeat(lambda: self._store.download(path, target))

    def open(self, path: str) -> BinaryIO:
        """Return a stream; only opening it is repeated."""
        return self._repeat(lambda: self._store.open(path))

    def size(self, path: str) -> int:
        """Return an object's size in bytes."""
        return self._repeat(lambda: self._store.size(path))

    def token(self, path: str) -> str:
        """Return what names an object's present content."""
        return self._repeat(lambda: self._store.token(path))

    def create_once(self, path: str, data: bytes) -> bool:
        """Create an object whole, exactly once."""
        return self._repeat(lambda: self._store.create_once(path, data))

    def list(self, folder: str) -> list[str]:
        """Return the paths of all objects below a folder."""
        return self._repeat(lambda: self._store.list(folder))

    def delete(self, path: str) -> None:
        """Delete an object."""
        self._repeat(lambda: self._store.delete(path))

    def _repeat(self, ask: Callable[[], Result]) -> Result:
        waited = False

        def say(state: RetryCallState) -> None:
            nonlocal waited
            waited = True
            error = state.outcome.exception() if state.outcome else None
            self._tell(f"waiting for up to {self._seconds:g} s, {state.seconds_since_start:.0f} s so far: {error}")

        repeats = Retrying(
            retry=retry_if_exception_type((Unreachable, Changed)),
            stop=stop_after_delay(self._seconds),
            wait=wait_exponential_jitter(multiplier=0.2, max=10),
            before_sleep=say,
            reraise=True,
        )
        result: Result = repeats(ask)
        if waited:
            self._tell("")
        return result
