"""From the model's outputs to answers: names for columns, and a hierarchy in which no parent scores below its child."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard.contract.package import Label, Labels, Output, OutputKind
from modelyard.model.encoders import Array

__all__ = ["Answerer"]


class Answerer:
    """Reads raw outputs as `labels.json` declares."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._raises = {output.name: _edges(output.labels) for output in labels.outputs}

    def finish(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs in their declared shape, parents raised: `(batch,)`, or `(batch, labels)` for tags."""
        return {output.name: self._finish(output, outputs[output.name]) for output in self.labels.outputs}

    def rows(self, finished: Mapping[str, Array]) -> list[Any]:
        """Return one answer a row: with a single output its value, else a mapping of output name to value.

        A probability or regression is a number, tags are a mapping of label to score, raw outputs are nested lists.
        """
        columns = [(output.name, _listed(output, finished[output.name])) for output in self.labels.outputs]
        if len(columns) == 1:
            return columns[0][1]
        count = len(columns[0][1])
        return [{name: values[row] for name, values in columns} for row in range(count)]

    def _finish(self, output: Output, values: Array) -> Array:
        if output.kind in (OutputKind.PROBABILITY, OutputKind.REGRESSION):
            return values.reshape(len(values))
        if output.kind is OutputKind.TAGS and self._raises[output.name]:
            values = values.copy()
            for child, parent in self._raises[output.name]:
                np.maximum(values[:, parent], values[:, child], out=values[:, parent])
        return values


def _edges(labels: list[Label]) -> list[tuple[int, int]]:
    """Return (child, parent) columns, ordered so that a child is final before it raises its parents."""
    place = {label.name: index for index, label in enumerate(labels)}
    children: dict[str, set[str]] = {label.name: set() for label in labels}
    for label in labels:
        for parent in label.parents:
            children[parent].add(label.name)
    edges: list[tuple[int, int]] = []
    settled: set[str] = set()
    while len(settled) < len(labels):
        ready = [label for label in labels if label.name not in settled and settled >= children[label.name]]
        edges += [(place[label.name], place[parent]) for label in ready for parent in label.parents]
        settled.update(label.name for label in ready)
    return edges


def shortest(value: Any) -> float:
    """Return the float whose decimal form is the shortest that still names this float32."""
    return float(str(value))


def _listed(output: Output, values: Array) -> list[Any]:
    if output.kind is OutputKind.RAW:
        return list(values.tolist())
    if output.kind is OutputKind.TAGS:
        names = [label.name for label in output.labels]
        return [dict(zip(names, map(shortest, row), strict=True)) for row in values]
    return [shortest(value) for value in values]
