"""From the model's outputs to answers: names for columns, and a hierarchy in which no parent scores below its child."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from modelyard.contract.package import Label, Labels, Output, OutputKind
from modelyard.model.encoders import Array

__all__ = ["Answerer"]


class Answerer:
    """Reads raw outputs as `labels.json` declares."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._finishers = [(output.name, _finisher(output)) for output in labels.outputs]

    def finish(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs in their declared shape, parents raised: `(batch,)`, or `(batch, labels)` for tags."""
        return {name: finish(outputs[name]) for name, finish in self._finishers}

    def rows(self, finished: Mapping[str, Array]) -> list[Any]:
        """Return one answer a row: with a single output its value, else a mapping of output name to value.

        A probability or regression is a number, raw outputs are nested lists, tags are a mapping of label to score:
        all of them in order, or the `top` ones, the best first.
        """
        rows: list[Any] = self._rows(finished, _plain)
        return rows

    def json_rows(self, finished: Mapping[str, Array]) -> Any:
        """Return the same for orjson, which writes float32 as the shortest digits that name it by itself."""
        return self._rows(finished, _same)

    def json_columns(self, finished: Mapping[str, Array]) -> dict[str, Any]:
        """Return values by output name, one a row, for orjson."""
        return {output.name: _listed(output, finished[output.name], _same) for output in self.labels.outputs}

    def _rows(self, finished: Mapping[str, Array], convert: Callable[[Array], Any]) -> Any:
        if len(self.labels.outputs) == 1:
            output = self.labels.outputs[0]
            return _listed(output, finished[output.name], convert)
        columns = [(output.name, _listed(output, finished[output.name], convert)) for output in self.labels.outputs]
        count = len(columns[0][1])
        return [{name: values[row] for name, values in columns} for row in range(count)]


def _finisher(output: Output) -> Callable[[Array], Array]:
    if output.kind in (OutputKind.PROBABILITY, OutputKind.REGRESSION):
        return lambda values: values.reshape(-1)
    families = _families(output.labels) if output.kind is OutputKind.TAGS else None
    if families is None:
        return lambda values: values
    columns, starts = families

    def raise_parents(values: Array) -> Array:
        raised: Array = np.maximum.reduceat(values[:, columns], starts, axis=1)
        return raised

    return raise_parents


def _families(labels: list[Label]) -> tuple[Array, Array] | None:
    """Return columns and where each label's begin: itself and everything that implies it; None without a hierarchy."""
    if not any(label.parents for label in labels):
        return None
    parents = {label.name: label.parents for label in labels}
    families: dict[str, list[int]] = {label.name: [] for label in labels}
    for column, label in enumerate(labels):
        implied, found = [label.name], {label.name}
        while implied:
            name = implied.pop()
            families[name].append(column)
            new = [parent for parent in parents[name] if parent not in found]
            found.update(new)
            implied += new
    columns = [column for family in families.values() for column in family]
    starts = np.cumsum([0, *map(len, families.values())])[:-1]
    return np.array(columns), starts


def _plain(values: Array) -> Any:
    """Return floats whose decimal form is the shortest that still names each float32."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [float(str(value)) for value in values]


def _same(values: Array) -> Array:
    return np.ascontiguousarray(values)


def _listed(output: Output, values: Array, convert: Callable[[Array], Any]) -> Any:
    if output.kind is not OutputKind.TAGS:
        return convert(values)
    names = [label.name for label in output.labels]
    if output.top is None:
        return [dict(zip(names, convert(row), strict=True)) for row in values]
    best = np.argsort(-values, axis=1, kind="stable")[:, : output.top]
    ranked = zip(best.tolist(), np.take_along_axis(values, best, axis=1), strict=True)
    return [dict(zip([names[place] for place in places], convert(row), strict=True)) for places, row in ranked]
