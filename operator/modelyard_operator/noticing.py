"""What a change in the cluster means: the store learns it, and the keys that it concerns are queued."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelyard_operator.store import PARENTS, Key, Store, key_of, parents_of
from modelyard_operator.workqueue import WorkQueue

__all__ = ["Notices"]

Json = dict[str, Any]


class Notices:
    """The way into the store; everything here is immediate and asks nobody."""

    def __init__(self, store: Store, queue: WorkQueue[Key]) -> None:
        self._store = store
        self._queue = queue

    def seen(self, body: Mapping[str, Any]) -> None:
        """Take note of an object's present state."""
        before, after = self._store.put(body)
        if before is not after:
            self._wake(before, after)

    def gone(self, body: Mapping[str, Any]) -> None:
        """Take note that an object is no more."""
        before = self._store.remove(key_of(body))
        if before is not None:
            self._wake(before, None)

    def replaced(self, kind: str, bodies: Iterable[Mapping[str, Any]]) -> int:
        """Take note of a complete list; return how many objects it corrected."""
        corrected = 0
        for before, after in list(self._store.replace(kind, bodies)):
            corrected += 1
            self._wake(before, after)
        return corrected

    def _wake(self, before: Json | None, after: Json | None) -> None:
        for key in dict.fromkeys(self._concerned(before, after)):
            self._queue.add(key)

    def _concerned(self, before: Json | None, after: Json | None) -> Iterator[Key]:
        body = after or before or {}
        kind = body["kind"]
        states = [state for state in (before, after) if state is not None]
        related = [key for state in states for key in parents_of(state)]
        if kind not in PARENTS:
            yield from related
            return
        own = key_of(body)
        yield own
        if kind == "ModelServing":
            # where it serves is told by the checkpoints; its training does not depend on it
            yield from (key for key in related if key.kind == "ModelCheckpoint")
        elif kind == "ModelCheckpoint":
            yield from related
            yield from self._servings(own, *related)
        elif _facets(before) != _facets(after):
            yield from self._servings(own)
            yield from (key_of(item) for item in self._store.related("ModelCheckpoint", own))

    def _servings(self, *parents: Key) -> Iterator[Key]:
        for parent in parents:
            yield from (key_of(item) for item in self._store.related("ModelServing", parent))


def _facets(training: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    """Return what others see of a training: its spec's generation and its phase, not its progress."""
    if training is None:
        return None
    return training["metadata"]["uid"], training["metadata"].get("generation"), training.get("status", {}).get("phase")
