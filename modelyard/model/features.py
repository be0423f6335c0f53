"""From raw features to the model's inputs: the same code in training, in the server and in process.

Raw values come as rows (requests) or as columns (training data); both end in one encoder for each feature type, which
works on whole columns. Every problem of a request is found at once, and each names its feature.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.contract.package import CrossFeature, Features
from modelyard.model.encoders import Array, ColumnEncoder, ColumnError, encoder_for, number_table

__all__ = ["Encoder", "FeatureError", "InputSpec"]

_MISSING = object()
#: Unknown names that a refusal tells, and how long one may be to be compared with the known.
_MOST_NAMED, _LONGEST_NAME = 10, 63


class FeatureError(ValueError):
    """A request does not fit the model's features; `problems` has one sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of the model: its type and the shape of one instance."""

    dtype: str
    shape: tuple[int, ...]


class Encoder:
    """Encodes raw features as `features.json` declares."""

    def __init__(self, features: Features) -> None:
        self.features = features
        plain = [feature for feature in features.features if not isinstance(feature, CrossFeature)]
        self._columns: dict[str, ColumnEncoder] = {feature.name: encoder_for(feature) for feature in plain}
        self.sizes: dict[str, int] = {}
        self.inputs: dict[str, InputSpec] = {}
        for column in self._columns.values():
            self.sizes.update(column.sizes)
            self.inputs.update({name: InputSpec(*spec) for name, spec in column.inputs.items()})
        self._ones = [(name, column.encode_one, column.default) for name, column in self._columns.items()]
        self._texts = [(name, column.encode_text) for name, column in self._columns.items()]
        self._numbers = number_table(self._columns.values())
        self.takes_lists = frozenset(name for name, column in self._columns.items() if column.takes_lists)
        """Features whose value is a list."""
        self.takes_bytes = frozenset(name for name, column in self._columns.items() if column.takes_bytes)
        """Features whose value may be the bytes of a file."""
        self.expects = {name: column.expects for name, column in self._columns.items()}
        """What a value of each feature must be, in words."""
        self._crosses = [feature for feature in features.features if isinstance(feature, CrossFeature)]
        for cross in self._crosses:
            self._add_cross(cross)
        places = {name: place for place, name in enumerate(self.inputs)}
        self._cross_places = [[(places[name], self.sizes[name]) for name in cross.of] for cross in self._crosses]

    def _add_cross(self, cross: CrossFeature) -> None:
        missing = [name for name in cross.of if name not in self.sizes]
        if missing:
            known = ", ".join(sorted(self.sizes))
            raise ValueError(f"features.{cross.name}.of: {', '.join(missing)} is no integer input; there are: {known}")
        size = int(np.prod([self.sizes[name] for name in cross.of]))
        if size > 2**31 - 1:
            raise ValueError(f"features.{cross.name}: {size} combinations do not fit an int32 index")
        self.sizes[cross.name] = size
        self.inputs[cross.name] = InputSpec("int32", ())

    @property
    def names(self) -> tuple[str, ...]:
        """The features that a request may give."""
        return tuple(self._columns)

    @property
    def defaults(self) -> dict[str, Any]:
        """What stands for a feature that a request does not give, for those that have it."""
        return {name: column.default for name, column in self._columns.items() if column.default is not None}

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """Encode requests: one mapping of feature name to raw value a row; raise FeatureError."""
        problems = self._unknown(set().union(*rows))
        columns: dict[str, Sequence[Any]] = {}
        for name, column in self._columns.items():
            try:
                columns[name] = [row[name] for row in rows]
                continue
            except KeyError:
                pass
            if column.default is not None:
                columns[name] = [row.get(name, column.default) for row in rows]
            else:
                problems.append(f"{name}: missing; {column.expects}")
        return self._encode(columns, problems)

    def encode_row(self, row: Mapping[str, Any]) -> list[Any]:
        """Encode one request, fast: a scalar or array for each of `inputs`, in their order; raise FeatureError.

        The values are those of `encode`, before they are rounded to the input's type.
        """
        try:
            return self._encode_plain(row)
        except ColumnError:
            # the careful way names every problem; what it accepts (numpy's scalars, say) is as good
            return [array[0] for array in self.encode([row]).values()]

    def _encode_plain(self, row: Mapping[str, Any]) -> list[Any]:
        """Return the same; raise ColumnError without a good reason."""
        values: list[Any] = []
        given = len(row)
        for name, encode_one, default in self._ones:
            value = row.get(name, _MISSING)
            if value is _MISSING:
                given += 1
                value = default
            encode_one(value, values)
        if given != len(self._ones):
            raise ColumnError("an unknown feature")
        return self._with_crosses(values) if self._crosses else values

    def _with_crosses(self, values: list[Any]) -> list[Any]:
        for cross in self._cross_places:
            index = 0
            for place, size in cross:
                index = index * size + values[place]
            values.append(index)
        return values

    def encode_columns(self, columns: Mapping[str, Sequence[Any] | Array]) -> dict[str, Array]:
        """Encode whole columns of equal length; raise FeatureError."""
        problems = self._unknown(set(columns))
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            problems.append(f"columns of different lengths: {sorted(lengths)}")
        present: dict[str, Sequence[Any] | Array] = {}
        for name, column in self._columns.items():
            if name in columns:
                present[name] = columns[name]
            elif column.default is not None:
                present[name] = [column.default] * max(lengths, default=0)
            else:
                problems.append(f"{name}: missing; {column.expects}")
        return self._encode(present, problems)

    def encode_query(self, pairs: Sequence[Sequence[str]]) -> list[Any]:
        """Encode what query parameters mean: `encode_row` of `parse_query`, fast; raise FeatureError."""
        texts: dict[str, str] = dict(pairs)  # type: ignore[arg-type]
        if len(texts) == len(pairs) == len(self._texts):
            values: list[Any] = []
            try:
                for name, encode_text in self._texts:
                    encode_text(texts[name], values)
                return self._with_crosses(values) if self._crosses else values
            except (KeyError, ValueError):
                # the careful way knows defaults and other spellings, and names every problem
                pass
        return self.encode_row(self.parse_query(pairs))

    def parse_query(self, pairs: Sequence[Sequence[str]]) -> dict[str, Any]:
        """Return the row that pairs of a name and a text mean; a repeated parameter is a list; raise FeatureError."""
        texts: dict[str, list[str]] = {}
        for name, text in pairs:
            texts.setdefault(name, []).append(text)
        problems = self._unknown(set(texts))
        row: dict[str, Any] = {}
        for name, values in texts.items():
            if name in self._columns:
                try:
                    row[name] = self._columns[name].parse(values)
                except ColumnError as error:
                    problems.append(f"{name}: {error}")
        if problems:
            raise FeatureError(problems)
        return row

    def _encode(self, columns: Mapping[str, Sequence[Any] | Array], problems: list[str]) -> dict[str, Array]:
        inputs: dict[str, Array] = {}
        numbers = self._numbers.encode(columns)
        for name, values in columns.items():
            try:
                inputs.update({name: numbers[name]} if name in numbers else self._columns[name].encode(values))
            except ColumnError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise FeatureError(problems)
        for cross in self._crosses:
            inputs[cross.name] = self._cross(cross, inputs)
        return inputs

    def _cross(self, cross: CrossFeature, inputs: Mapping[str, Array]) -> Array:
        index = inputs[cross.of[0]].astype(np.int64)
        for name in cross.of[1:]:
            index = index * self.sizes[name] + inputs[name]
        return index.astype(np.int32)

    def _unknown(self, given: set[str]) -> list[str]:
        # JSON that is not strict may hold anything where a name should be
        names = sorted(map(str, given - self._columns.keys()))
        problems = [self._unknown_name(name) for name in names[:_MOST_NAMED]]
        if len(names) > _MOST_NAMED:
            problems.append(f"{len(names) - _MOST_NAMED} more names are no features")
        return problems

    def _unknown_name(self, name: str) -> str:
        """Say what is wrong with a name; looking for one like it takes a while, so long ones are not looked for."""
        if len(name) > _LONGEST_NAME:
            return f"{name[:_LONGEST_NAME]}...: no such feature"
        close = difflib.get_close_matches(name, self._columns, 1)
        hint = f"did you mean {close[0]}?" if close else f"the features are {', '.join(self._columns)}"
        return f"{name}: no such feature; {hint}"
