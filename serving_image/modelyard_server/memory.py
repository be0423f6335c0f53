"""Answers that need no computing: the package's table of precomputed ones, and those given lately."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

from modelyard.model.encoders import Array
from modelyard.model.lookup import LookupTable

__all__ = ["Memory"]

Outputs = dict[str, Array]


class Memory:
    """Exact answers of one model version by encoded instance: a fixed table, then the least recently used go first."""

    def __init__(self, table: LookupTable | None, entries: int) -> None:
        self._table = table
        self._entries = entries
        self._recent: OrderedDict[Hashable, Outputs] = OrderedDict()
        self.lookup_hits = self.cache_hits = self.misses = 0

    @property
    def in_use(self) -> bool:
        """Whether there is anything to look in."""
        return self._table is not None or self._entries > 0

    def find(self, values: Sequence[Any]) -> Outputs | None:
        """Return the finished outputs for `Encoder.encode_row`'s values, or None. Arrays are never found."""
        if self._table is not None:
            found = self._table.find(values)
            if found is not None:
                self.lookup_hits += 1
                return found
        try:
            key = tuple(values)
            found = self._recent.get(key)
        except TypeError:
            return None
        if found is None:
            self.misses += 1
            return None
        self._recent.move_to_end(key)
        self.cache_hits += 1
        return found

    def keep(self, values: Sequence[Any], outputs: Outputs) -> None:
        """Keep an answer."""
        if not self._entries:
            return
        try:
            self._recent[tuple(values)] = outputs
        except TypeError:
            return
        if len(self._recent) > self._entries:
            self._recent.popitem(last=False)
