"""Distributions of features and predictions: counted over the baseline's bins, compared by PSI."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard.contract.package import (
    BooleanFeature,
    CategoryFeature,
    CrossFeature,
    DateFeature,
    Distribution,
    Feature,
    Features,
    HashFeature,
    ImageFeature,
    ListFeature,
    TensorFeature,
)
from modelyard.model.encoders import Array, encoder_for

__all__ = [
    "DistributionCounter",
    "describe_categories",
    "describe_column",
    "describe_numbers",
    "stability_index",
    "tensor_means",
    "watched_values",
]

BINS = 20
MOST_CATEGORIES = 50
#: Share that an empty bin counts as, so that the index stays finite.
_FLOOR = 1e-4


def describe_numbers(values: Array) -> Distribution:
    """Return counts over up to 20 bins between the quantiles of the values."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    edges = np.unique(np.quantile(flat, np.linspace(0, 1, BINS + 1))) if flat.size else np.array([0.0, 1.0])
    if len(edges) == 1:
        edges = np.array([edges[0], edges[0] + 1.0])
    return Distribution(edges=edges.tolist(), counts=_bin(flat, edges).tolist())


def describe_categories(values: Sequence[Any] | Array) -> Distribution:
    """Return counts of the 50 most frequent values; the rest counts as other."""
    counted = Counter(map(str, values))
    top = counted.most_common(MOST_CATEGORIES)
    return Distribution(
        categories=[name for name, _ in top],
        counts=[count for _, count in top],
        other=counted.total() - sum(count for _, count in top),
    )


def describe_column(features: Features, name: str, values: Sequence[Any] | Array) -> Distribution:
    """Return the distribution of a raw feature column."""
    [feature] = [feature for feature in features.features if feature.name == name]
    if isinstance(feature, CrossFeature):
        raise ValueError(f"{name} is a cross: it has no values of its own")
    if isinstance(feature, TensorFeature | ImageFeature):
        return describe_numbers(tensor_means(feature, encoder_for(feature).encode(values)[name]))
    watched = watched_values(feature, values)
    if isinstance(feature, CategoryFeature | BooleanFeature | DateFeature | HashFeature):
        return describe_categories(watched)
    return describe_numbers(np.asarray(watched, dtype=np.float64))


def watched_values(feature: Feature, values: Sequence[Any] | Array) -> Sequence[Any] | Array:
    """Return what is counted of a column's values: the month of a date, the length of a list, else the value."""
    if isinstance(feature, DateFeature):
        return [value[:7] for value in values]
    if isinstance(feature, ListFeature):
        return [len(value) for value in values]
    return values


def tensor_means(feature: TensorFeature | ImageFeature, encoded: Array) -> Array:
    """Return what is counted of tensors and pictures: the mean of each, before it was scaled; shape (batch,)."""
    means: Array = encoded.reshape(len(encoded), -1).mean(axis=1, dtype=np.float64)
    return (means - feature.offset) / (feature.scale or 1.0)


def _bin(values: Array, edges: Array) -> Array:
    """Count values in the bins between the edges; the outer bins are open."""
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts: Array = np.bincount(places, minlength=len(edges) - 1)
    return counts


class DistributionCounter:
    """Counts a stream over a baseline's bins: bounded memory, whole batches at once, mergeable by addition."""

    def __init__(self, baseline: Distribution) -> None:
        self.baseline = baseline
        self._edges = np.array(baseline.edges)
        self._places = {name: place for place, name in enumerate(baseline.categories)}
        self.counts = np.zeros(len(baseline.counts), dtype=np.int64)
        self.other = 0
        # only a server has the library, and only a server counts
        from modelyard.model.streams import NumberSketch, WordSketch

        self._numbers = None if self._places else NumberSketch()
        self._words = WordSketch() if self._places else None

    def add(self, values: Sequence[Any] | Array) -> None:
        """Count a batch of raw values."""
        if self._numbers is not None:
            numbers = np.asarray(values, dtype=np.float64)
            self.counts += _bin(numbers, self._edges)
            self._numbers.add(np.array(numbers))
            return
        words = Counter(map(str, values))
        if self._words is not None:
            self._words.add(words)
        for value, count in words.items():
            place = self._places.get(value)
            if place is None:
                self.other += count
            else:
                self.counts[place] += count

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum()) + self.other

    def document(self, *, sketches: bool = False) -> dict[str, Any]:
        """Return counts, shift, and quantiles or frequent words, for `/summary`; with the sketches to be merged."""
        told: dict[str, Any] = {"counts": self.counts.tolist(), "other": self.other}
        told |= {"psi": self.shift(), "distance": self.distance()}
        if self._numbers is not None:
            told["quantiles"] = self._numbers.document()
        if self._words is not None:
            told["frequent"] = self._words.document()
        if sketches and (sketch := self._numbers or self._words) is not None:
            told["sketch"] = sketch.serialised()
        return told

    def shift(self) -> float | None:
        """Return the population stability index against the baseline; None without values."""
        if self.total == 0:
            return None
        expected = [*self.baseline.counts, self.baseline.other]
        return round(stability_index(expected, [*self.counts.tolist(), self.other]), 6)

    def distance(self) -> float | None:
        """Return how far the baseline is, from 0 to 1; None without values.

        For numbers the Kolmogorov-Smirnov distance, taken at the bin edges; for categories the total variation.
        """
        if self.total == 0:
            return None
        expected = np.array([*self.baseline.counts, self.baseline.other], dtype=np.float64)
        observed = np.array([*self.counts.tolist(), self.other], dtype=np.float64)
        difference = observed / observed.sum() - expected / max(expected.sum(), 1.0)
        if self._places:
            return round(float(np.abs(difference).sum() / 2), 6)
        return round(float(np.abs(np.cumsum(difference)).max()), 6)


def stability_index(expected: Sequence[int], observed: Sequence[int]) -> float:
    """Return the PSI of two histograms over the same bins: sum of (q - p) ln(q / p) over their shares."""
    p = np.maximum(np.array(expected, dtype=np.float64) / max(sum(expected), 1), _FLOOR)
    q = np.maximum(np.array(observed, dtype=np.float64) / max(sum(observed), 1), _FLOOR)
    return float(np.sum((q - p) * np.log(q / p)))
