"""The keys that need a pass: each at most once, never two passes of one key at a time, delays and backoff."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["WorkQueue"]

KeyType = TypeVar("KeyType", bound=tuple[str, ...])

FIRST_DELAY = 0.25
LONGEST_DELAY = 120.0


class WorkQueue(Generic[KeyType]):
    """Dirty keys in order of arrival; a key that is added while its pass runs gets another pass afterwards.

    `clock` gives monotonic seconds; `jitter` a number in [0, 1) that spreads repeats.
    """

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._dirty: dict[KeyType, None] = {}
        self._running: dict[KeyType, float] = {}
        self._due: dict[KeyType, float] = {}
        self._heap: list[tuple[float, KeyType]] = []
        self._failures: dict[KeyType, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: KeyType) -> None:
        """Ask for a pass as soon as possible."""
        self._dirty[key] = None
        self._changed.set()

    def add_after(self, key: KeyType, seconds: float) -> None:
        """Ask for a pass in a while; the earliest of several wishes counts."""
        due = self._clock() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    def retry(self, key: KeyType, at_least: float = 0.0) -> float:
        """Ask for a repeat after a failure; return the delay in seconds, twice as long each time, with jitter."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        doubled = min(FIRST_DELAY * 2.0 ** min(failures, 16), LONGEST_DELAY)
        delay = max(doubled * (0.75 + 0.5 * self._jitter()), at_least)
        self.add_after(key, delay)
        return delay

    def forgive(self, key: KeyType) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    async def get(self) -> KeyType:
        """Wait for a key that needs a pass; call `done` after the pass."""
        while True:
            key = self.take()
            if key is not None:
                return key
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self.next_delay())
            except TimeoutError:
                continue

    def take(self) -> KeyType | None:
        """Return a key that needs a pass now, if there is one."""
        self._ripen()
        key = next((key for key in self._dirty if key not in self._running), None)
        if key is not None:
            del self._dirty[key]
            self._running[key] = self._clock()
        return key

    def done(self, key: KeyType) -> None:
        """End a pass."""
        self._running.pop(key, None)
        if key in self._dirty:
            self._changed.set()

    def next_delay(self) -> float | None:
        """Return the seconds until a delayed key is due, if there is one."""
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    @property
    def depth(self) -> int:
        """The number of keys that wait."""
        return len(self._dirty)

    @property
    def longest_running(self) -> float:
        """Seconds that the oldest pass has been running."""
        return max((self._clock() - start for start in self._running.values()), default=0.0)

    def _ripen(self) -> None:
        while self._heap and self._heap[0][0] <= self._clock():
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self._dirty[key] = None
