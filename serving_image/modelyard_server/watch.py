"""What is seen of features and predictions: counted over the baseline's bins, a bounded number of rows a second."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.contract.package import Baseline, Features, ImageFeature, Labels, OutputKind, TensorFeature
from modelyard.model.encoders import Array
from modelyard.model.sketches import DistributionCounter, tensor_means, watched_values

__all__ = ["Watch"]

Columns = Mapping[str, Sequence[Any] | Array]
Outputs = Mapping[str, Array]
#: Rows are set aside and counted together, this often, in seconds.
_PERIOD = 0.25
#: Rows counted in a period; more than that adds nothing to what a distribution tells.
_MOST_ROWS = 250


class Watch:
    """Counts features and predictions of one model version.

    A request costs an append; the counting is done in bulk once a period. Beyond a thousand rows a second only the
    first of each period count: a distribution needs no more, and the price stays bounded whatever the traffic.
    """

    def __init__(self, baseline: Baseline, features: Features, labels: Labels, inputs: Sequence[str]) -> None:
        self.features = {name: DistributionCounter(value) for name, value in baseline.features.items()}
        self.predictions = {name: DistributionCounter(value) for name, value in baseline.predictions.items()}
        self._kinds = {feature.name: feature for feature in features.features if feature.name in self.features}
        self._tensors = [
            (name, kind, inputs.index(name))
            for name, kind in self._kinds.items()
            if isinstance(kind, TensorFeature | ImageFeature)
        ]
        self._labels = labels
        self._rows: list[tuple[Mapping[str, Any], Outputs]] = []
        self._room = _MOST_ROWS
        self._period_ends = 0.0

    def has_room(self, now: float) -> bool:
        """Return whether a row would be counted in this period."""
        if now >= self._period_ends:
            self.fold(now)
        return self._room > 0

    def add_row(self, row: Mapping[str, Any], values: Sequence[Any], outputs: Outputs) -> None:
        """Set one answered request aside: raw features by name, and the same as `Encoder.encode_row` gave them."""
        self._room -= 1
        if self._tensors:
            # of a picture only its mean is kept: hundreds of whole ones would fill the memory
            means = {name: tensor_means(kind, values[place][None])[0] for name, kind, place in self._tensors}
            row = {**row, **means}
        self._rows.append((row, outputs))

    def add_columns(self, columns: Columns, inputs: Mapping[str, Array], outputs: Outputs) -> None:
        """Count an answered batch, raw and encoded, or as much of it as the period has room for."""
        room = min(len(next(iter(inputs.values()))), self._room)
        self._room -= room
        means = {name: tensor_means(kind, inputs[name][:room]) for name, kind, _ in self._tensors}
        self._count_features({name: values[:room] for name, values in columns.items()} | means)
        self._count_predictions({name: values[:room] for name, values in outputs.items()})

    def fold(self, now: float) -> None:
        """Count what was set aside and begin a new period."""
        self._period_ends = now + _PERIOD
        self._room = _MOST_ROWS
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        self._count_features({name: [row[name] for row, _ in rows if name in row] for name in self.features})
        names = rows[0][1].keys()
        self._count_predictions({name: np.concatenate([outputs[name] for _, outputs in rows]) for name in names})

    def document(self) -> dict[str, dict[str, Any]]:
        """Return counts and shifts by kind and name."""
        kinds = {"features": self.features, "predictions": self.predictions}
        return {kind: {name: counter.document() for name, counter in found.items()} for kind, found in kinds.items()}

    def _count_features(self, columns: Mapping[str, Any]) -> None:
        for name, counter in self.features.items():
            values = columns.get(name)
            if values is None or len(values) == 0:
                continue
            counter.add(watched_values(self._kinds[name], values))

    def _count_predictions(self, outputs: Outputs) -> None:
        for output in self._labels.outputs:
            if output.kind is OutputKind.TAGS:
                for column, label in enumerate(output.labels):
                    self.predictions[f"{output.name}.{label.name}"].add(outputs[output.name][:, column])
            elif output.name in self.predictions:
                self.predictions[output.name].add(outputs[output.name])
