"""The core that every door shares: from requests to answers, with what is told about them. No HTTP here."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.contract.package import DateFeature, OutputKind, TensorFeature
from modelyard.model.encoders import Array
from modelyard.model.opening import Model
from modelyard.model.sketches import DistributionCounter

__all__ = ["Answer", "Core", "RequestError"]


class RequestError(ValueError):
    """The request cannot be answered as it is; becomes a 4xx with this message."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """Finished outputs by name, and the seconds that encoding and computing took."""

    outputs: dict[str, Array]
    encode: float
    compute: float


class Core:
    """A model and what was seen of its features and predictions."""

    def __init__(self, model: Model, name: str, version: str, most_instances: int) -> None:
        self.model = model
        self.name = name
        self.version = version or model.version
        self._most_instances = most_instances
        baseline = model.baseline
        self.features = {key: DistributionCounter(value) for key, value in baseline.features.items()}
        self.predictions = {key: DistributionCounter(value) for key, value in baseline.predictions.items()}
        kinds = {feature.name: feature for feature in model.features.features}
        self._tensors = {name for name, feature in kinds.items() if isinstance(feature, TensorFeature)}
        self._dates = {name for name, feature in kinds.items() if isinstance(feature, DateFeature)}

    def answer_rows(self, rows: Sequence[Mapping[str, Any]]) -> Answer:
        """Answer requests given row by row; raise FeatureError or RequestError."""
        self._check_count(len(rows))
        started = time.perf_counter()
        inputs = self.model.encoder.encode(rows)
        columns = {name: [row[name] for row in rows if name in row] for name in self.features}
        return self._compute(inputs, columns, started)

    def answer_columns(self, columns: Mapping[str, Sequence[Any] | Array]) -> Answer:
        """Answer requests given column by column; raise FeatureError or RequestError."""
        self._check_count(max((len(values) for values in columns.values()), default=0))
        started = time.perf_counter()
        inputs = self.model.encoder.encode_columns(columns)
        return self._compute(inputs, columns, started)

    def _compute(self, inputs: dict[str, Array], columns: Mapping[str, Any], started: float) -> Answer:
        encoded = time.perf_counter()
        outputs = self.model.compute(inputs)
        computed = time.perf_counter()
        self._count(columns, outputs)
        return Answer(outputs, encoded - started, computed - encoded)

    def _check_count(self, count: int) -> None:
        if count == 0:
            raise RequestError("no instances: at least one is expected")
        if count > self._most_instances:
            raise RequestError(f"{count} instances: at most {self._most_instances} are answered at once", 413)

    def _count(self, columns: Mapping[str, Any], outputs: Mapping[str, Array]) -> None:
        for name, counter in self.features.items():
            values = columns.get(name)
            if values is None or len(values) == 0:
                continue
            if name in self._tensors:
                values = np.asarray(values, dtype=np.float64).reshape(len(values), -1).mean(axis=1)
            elif name in self._dates:
                values = [value[:7] for value in values]
            counter.add(values)
        for output in self.model.labels.outputs:
            if output.kind is OutputKind.TAGS:
                for column, label in enumerate(output.labels):
                    self.predictions[f"{output.name}.{label.name}"].add(outputs[output.name][:, column])
            elif output.name in self.predictions:
                self.predictions[output.name].add(outputs[output.name])
