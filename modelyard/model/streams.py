"""Sketches of what passes by: quantiles of numbers and frequent words, in a few kilobytes, mergeable across pods.

They tell what counts over a baseline's bins can't: where the values beyond the outermost bins lie, and which words the
baseline did not have. Rank errors are about 1.3 % (KLL, k = 200).
"""

import base64
from collections.abc import Mapping

from datasketches import frequent_items_error_type, frequent_strings_sketch, kll_doubles_sketch

from modelyard.model.encoders import Array

__all__ = ["NumberSketch", "WordSketch"]

_RANKS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_ACCURACY = 200
#: Words that are kept: 2 to this power; how much of one, and how many are told.
_WORDS, _LONGEST, _TOLD = 8, 64, 10


class NumberSketch:
    """Quantiles of a stream of numbers."""

    def __init__(self) -> None:
        self._sketch = kll_doubles_sketch(_ACCURACY)

    def add(self, values: Array) -> None:
        """Take float64 values of shape (batch,)."""
        self._sketch.update(values)

    def document(self) -> dict[str, float]:
        """Return the quantiles by rank, 0 to 1; nothing without values."""
        if self._sketch.is_empty():
            return {}
        return dict(zip(map(str, _RANKS), self._sketch.get_quantiles(_RANKS), strict=True))

    def serialised(self) -> str:
        """Return Apache DataSketches' bytes of a `kll_doubles_sketch`, in base64."""
        return base64.b64encode(self._sketch.serialize()).decode()


class WordSketch:
    """The most frequent words of a stream; long ones by their beginning."""

    def __init__(self) -> None:
        self._sketch = frequent_strings_sketch(_WORDS)

    def add(self, counts: Mapping[str, int]) -> None:
        """Take words with how often each came."""
        for word, count in counts.items():
            self._sketch.update(word[:_LONGEST], count)

    def document(self) -> dict[str, int]:
        """Return the most frequent words with their estimated counts, the most frequent first."""
        found = self._sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES)
        return {word: estimate for word, estimate, *_ in found[:_TOLD]}

    def serialised(self) -> str:
        """Return Apache DataSketches' bytes of a `frequent_strings_sketch`, in base64."""
        return base64.b64encode(self._sketch.serialize()).decode()
