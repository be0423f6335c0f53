"""Numbers, whole numbers, truth, and intervals."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.contract.package import BooleanFeature, BucketFeature, IntegerFeature, NumberFeature
from modelyard.model.encoders.common import (
    LARGEST,
    REAL,
    Array,
    ColumnError,
    EncodeOne,
    EncodeText,
    Values,
    are_reals,
    check_bounds,
    least,
    most,
    range_words,
    reals,
    show,
    single,
)

__all__ = ["BooleanEncoder", "BucketEncoder", "IntegerEncoder", "NumberEncoder", "NumberTable"]

#: Rows of a batch whose columns are cheaper together.
_SMALL = 512
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class NumberEncoder:
    """Encodes a `NumberFeature`."""

    takes_lists, takes_bytes = False, False

    def __init__(self, feature: NumberFeature) -> None:
        self._feature = feature
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("float32", ())}
        self.sizes: dict[str, int] = {}
        self.default = feature.default
        self.expects = f"a number{range_words(feature.minimum, feature.maximum)} is expected"
        # whatever is accepted has a float32 form
        self._minimum = max(least(feature.minimum), feature.mean - LARGEST * feature.scale)
        self._maximum = min(most(feature.maximum), feature.mean + LARGEST * feature.scale)
        self.bounds = (self._minimum, self._maximum, feature.mean, feature.scale)
        """Least and most value, and what they are normalised by."""
        self.encode_one, self.encode_text = self._encoders_of_one()

    def encode(self, values: Values) -> dict[str, Array]:
        feature = self._feature
        array = reals(values, self.expects)
        check_bounds(array, self._minimum, self._maximum, self.expects)
        return {feature.name: ((array - feature.mean) / feature.scale).astype(np.float32)}

    def _encoders_of_one(self) -> tuple[EncodeOne, EncodeText]:
        minimum, maximum, expects = self._minimum, self._maximum, self.expects
        mean, scale = self._feature.mean, self._feature.scale

        def encode_one(value: Any, row: list[Any]) -> None:
            if type(value) not in REAL or not minimum <= value <= maximum:
                raise ColumnError(expects)
            row.append((value - mean) / scale)

        def encode_text(text: str, row: list[Any]) -> None:
            value = float(text)
            if not minimum <= value <= maximum:
                raise ColumnError(expects)
            row.append((value - mean) / scale)

        return encode_one, encode_text

    def parse(self, texts: list[str]) -> float:
        text = single(texts, self.expects)
        try:
            value = float(text)
        except ValueError as error:
            raise ColumnError(f"{show(text)}; {self.expects}") from error
        if not -math.inf < value < math.inf:
            raise ColumnError(f"{show(text)}; {self.expects}")
        return value


class NumberTable:
    """Encodes the number columns of a small batch together: a few numpy calls for all of them, not for each."""

    def __init__(self, encoders: Sequence[NumberEncoder]) -> None:
        self._names = [name for encoder in encoders for name in encoder.inputs]
        bounds = [encoder.bounds for encoder in encoders]
        self._minimum, self._maximum, self._mean, self._scale = np.array(bounds).reshape(-1, 4).T[:, :, None]

    def encode(self, columns: Mapping[str, Values]) -> dict[str, Array]:
        """Return what `NumberEncoder.encode` does for each column, or nothing if any is not plainly right."""
        values = [columns[name] for name in self._names if name in columns]
        if len(values) < 2 or len(values) != len(self._names) or not all(map(_is_plain, values)):
            return {}
        try:
            table = np.array(values, dtype=np.float64)
        except (ValueError, OverflowError):
            return {}
        if table.ndim != 2 or not ((table >= self._minimum) & (table <= self._maximum)).all():
            return {}
        return dict(zip(self._names, ((table - self._mean) / self._scale).astype(np.float32), strict=True))


def _is_plain(values: Values) -> bool:
    if len(values) > _SMALL:
        return False
    return values.dtype.kind in "iuf" if isinstance(values, np.ndarray) else are_reals(values)


class IntegerEncoder:
    """Encodes a `IntegerFeature`."""

    takes_lists, takes_bytes = False, False

    def __init__(self, feature: IntegerFeature) -> None:
        self._feature = feature
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("int32", ())}
        self.sizes = {feature.name: feature.maximum - feature.minimum + 1}
        self.default = feature.default
        self.expects = f"a whole number from {feature.minimum} to {feature.maximum} is expected"
        self.encode_one = self._encoder_of_one()

    def encode(self, values: Values) -> dict[str, Array]:
        feature = self._feature
        array = reals(values, self.expects)
        if (array != np.floor(array)).any():
            raise ColumnError(f"not whole; {self.expects}")
        check_bounds(array, feature.minimum, feature.maximum, self.expects)
        return {feature.name: (array - feature.minimum).astype(np.int32)}

    def _encoder_of_one(self) -> EncodeOne:
        minimum, maximum, expects = self._feature.minimum, self._feature.maximum, self.expects

        def encode_one(value: Any, row: list[Any]) -> None:
            if type(value) is not int or not minimum <= value <= maximum:
                raise ColumnError(expects)
            row.append(value - minimum)

        return encode_one

    def encode_text(self, text: str, row: list[Any]) -> None:
        self.encode_one(int(text), row)

    def parse(self, texts: list[str]) -> int:
        text = single(texts, self.expects)
        try:
            return int(text)
        except ValueError as error:
            raise ColumnError(f"{show(text)}; {self.expects}") from error


class BooleanEncoder:
    """Encodes a `BooleanFeature`."""

    takes_lists, takes_bytes = False, False
    expects = "true or false is expected"

    def __init__(self, feature: BooleanFeature) -> None:
        self._name = feature.name
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("float32", ())}
        self.sizes: dict[str, int] = {}
        self.default = feature.default

    def encode(self, values: Values) -> dict[str, Array]:
        if isinstance(values, np.ndarray) and values.dtype.kind == "b":
            return {self._name: values.astype(np.float32)}
        for value in values:
            if not isinstance(value, bool | np.bool_):
                raise ColumnError(f"{show(value)}; {self.expects}")
        return {self._name: np.array(values, dtype=np.float32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        if type(value) is not bool:
            raise ColumnError(self.expects)
        row.append(1.0 if value else 0.0)

    def encode_text(self, text: str, row: list[Any]) -> None:
        row.append(1.0 if _TRUTH[text] else 0.0)

    def parse(self, texts: list[str]) -> bool:
        text = single(texts, self.expects).lower()
        if text not in _TRUTH:
            raise ColumnError(f"{show(text)}; {self.expects}")
        return _TRUTH[text]


class BucketEncoder:
    """Encodes a `BucketFeature`."""

    takes_lists, takes_bytes = False, False
    expects = "a number is expected"

    def __init__(self, feature: BucketFeature) -> None:
        self._name, self._boundaries = feature.name, feature.boundaries
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("int32", ())}
        self.sizes = {feature.name: len(feature.boundaries) + 1}
        self.default = feature.default

    def encode(self, values: Values) -> dict[str, Array]:
        places = np.searchsorted(self._boundaries, reals(values, self.expects), side="right")
        return {self._name: places.astype(np.int32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        if type(value) not in REAL or not -math.inf < value < math.inf:
            raise ColumnError(self.expects)
        row.append(bisect_right(self._boundaries, value))

    def encode_text(self, text: str, row: list[Any]) -> None:
        self.encode_one(float(text), row)

    def parse(self, texts: list[str]) -> float:
        text = single(texts, self.expects)
        try:
            return float(text)
        except ValueError as error:
            raise ColumnError(f"{show(text)}; {self.expects}") from error
