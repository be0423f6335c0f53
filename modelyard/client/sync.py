"""A client for programs without asyncio: the same calls, on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from modelyard.client.interface import Client

__all__ = ["SyncClient"]

Result = TypeVar("Result")


class SyncClient:
    """Wraps a client; safe to use from several threads at once, whose calls then travel in parallel."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="modelyard-client", daemon=True)
        self._thread.start()
        self._client = make()

    def predict(self, features: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """Return the answer for one instance."""
        return self._run(self._client.predict(features, timeout=timeout))

    def predict_many(self, rows: Sequence[Mapping[str, Any]], *, timeout: float | None = None) -> list[Any]:
        """Return the answers for many instances, in order."""
        return self._run(self._client.predict_many(rows, timeout=timeout))

    def version(self) -> str:
        """Return which version answers now."""
        return self._run(self._client.version())

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._loop.is_closed():
            return
        self._run(self._client.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()
