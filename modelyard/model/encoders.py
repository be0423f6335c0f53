"""One encoder for each feature type: whole columns of raw values in, arrays out."""

import datetime
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from modelyard.contract.package import (
    BooleanFeature,
    CategoryFeature,
    DateFeature,
    DatePart,
    IntegerFeature,
    NumberFeature,
    TensorFeature,
)

__all__ = ["Array", "ColumnEncoder", "ColumnError", "encoder_for"]

Array = NDArray[Any]
Values = Sequence[Any] | Array
#: Columns longer than this are encoded by their distinct values.
_LONG = 64
_REAL = (int, float)
#: The largest float32.
_LARGEST = float(np.finfo(np.float32).max)
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class ColumnError(ValueError):
    """A value does not fit its feature; the message says what is expected."""


class ColumnEncoder(Protocol):
    """What every feature type knows to do."""

    inputs: dict[str, tuple[str, tuple[int, ...]]]
    """Input name to dtype and shape of one instance."""
    sizes: dict[str, int]
    """Number of indices of each int32 input."""
    default: Any
    """Raw value of a feature that is left out, or None."""
    expects: str
    """What a value must be, in words."""
    takes_lists: bool
    """Whether a value is a list."""
    takes_bytes: bool
    """Whether a value may be the bytes of a file."""

    def encode(self, values: Values) -> dict[str, Array]:
        """Encode a column; raise ColumnError."""

    def encode_one(self, value: Any, row: list[Any]) -> None:
        """Append the same for one value: a scalar, or an array of one instance's shape, for each of `inputs`.

        It is the fast way of single requests: what is not plainly right raises ColumnError, and `encode` says why.
        """

    def parse(self, texts: list[str]) -> Any:
        """Return the raw value of query parameters; raise ColumnError."""


def _single(texts: list[str], expects: str) -> str:
    if len(texts) != 1:
        raise ColumnError(f"given {len(texts)} times; {expects}")
    return texts[0]


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _reals(values: Values, expects: str) -> Array:
    """Return float64 values; booleans, strings, NaN and infinities are refused."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iuf":
            raise ColumnError(f"a column of {values.dtype}; {expects}")
        array: Array = values.astype(np.float64)
    else:
        for value in values:
            if type(value) not in (int, float) and not isinstance(value, np.integer | np.floating):
                raise ColumnError(f"{_show(value)}; {expects}")
        try:
            array = np.array(values, dtype=np.float64)
        except OverflowError as error:
            raise ColumnError(f"a number too large; {expects}") from error
    if not np.isfinite(array).all():
        raise ColumnError(f"NaN or infinite; {expects}")
    return array


def _check_bounds(array: Array, minimum: float | None, maximum: float | None, expects: str) -> None:
    if minimum is not None and array.size and array.min() < minimum:
        raise ColumnError(f"{array.min():g} is below {minimum:g}; {expects}")
    if maximum is not None and array.size and array.max() > maximum:
        raise ColumnError(f"{array.max():g} is above {maximum:g}; {expects}")


def _least(minimum: float | None) -> float:
    return -math.inf if minimum is None else minimum


def _most(maximum: float | None) -> float:
    return math.inf if maximum is None else maximum


def _range_words(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum:g} to {maximum:g}"
    if minimum is not None:
        return f" of at least {minimum:g}"
    return f" of at most {maximum:g}" if maximum is not None else ""


class _Number:
    takes_lists, takes_bytes = False, False

    def __init__(self, feature: NumberFeature) -> None:
        self._feature = feature
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("float32", ())}
        self.sizes: dict[str, int] = {}
        self.default = feature.default
        self.expects = f"a number{_range_words(feature.minimum, feature.maximum)} is expected"
        self._mean, self._scale = feature.mean, feature.scale
        # whatever is accepted has a float32 form
        self._minimum = max(_least(feature.minimum), feature.mean - _LARGEST * feature.scale)
        self._maximum = min(_most(feature.maximum), feature.mean + _LARGEST * feature.scale)

    def encode(self, values: Values) -> dict[str, Array]:
        feature = self._feature
        array = _reals(values, self.expects)
        _check_bounds(array, self._minimum, self._maximum, self.expects)
        return {feature.name: ((array - feature.mean) / feature.scale).astype(np.float32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        if type(value) not in _REAL or not self._minimum <= value <= self._maximum:
            raise ColumnError(self.expects)
        row.append((value - self._mean) / self._scale)

    def parse(self, texts: list[str]) -> float:
        text = _single(texts, self.expects)
        try:
            value = float(text)
        except ValueError as error:
            raise ColumnError(f"{_show(text)}; {self.expects}") from error
        if not math.isfinite(value):
            raise ColumnError(f"{_show(text)}; {self.expects}")
        return value


class _Integer:
    takes_lists, takes_bytes = False, False

    def __init__(self, feature: IntegerFeature) -> None:
        self._feature = feature
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("int32", ())}
        self.sizes = {feature.name: feature.maximum - feature.minimum + 1}
        self.default = feature.default
        self.expects = f"a whole number from {feature.minimum} to {feature.maximum} is expected"

    def encode(self, values: Values) -> dict[str, Array]:
        feature = self._feature
        array = _reals(values, self.expects)
        if (array != np.floor(array)).any():
            raise ColumnError(f"not whole; {self.expects}")
        _check_bounds(array, feature.minimum, feature.maximum, self.expects)
        return {feature.name: (array - feature.minimum).astype(np.int32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        feature = self._feature
        if type(value) is not int or not feature.minimum <= value <= feature.maximum:
            raise ColumnError(self.expects)
        row.append(value - feature.minimum)

    def parse(self, texts: list[str]) -> int:
        text = _single(texts, self.expects)
        try:
            return int(text)
        except ValueError as error:
            raise ColumnError(f"{_show(text)}; {self.expects}") from error


class _Boolean:
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
                raise ColumnError(f"{_show(value)}; {self.expects}")
        return {self._name: np.array(values, dtype=np.float32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        if type(value) is not bool:
            raise ColumnError(self.expects)
        row.append(1.0 if value else 0.0)

    def parse(self, texts: list[str]) -> bool:
        text = _single(texts, self.expects).lower()
        if text not in _TRUTH:
            raise ColumnError(f"{_show(text)}; {self.expects}")
        return _TRUTH[text]


def _by_distinct(values: Values, encode_one: Callable[[Any], Any]) -> Array:
    """Encode strings one by one, or a long column by its distinct values."""
    if len(values) <= _LONG:
        return np.array([encode_one(value) for value in values])
    distinct, places = np.unique(np.asarray(values, dtype=object).astype(str), return_inverse=True)
    encoded: Array = np.array([encode_one(value) for value in distinct.tolist()])[places]
    return encoded


def _check_strings(values: Values, expects: str) -> None:
    for value in values if len(values) <= _LONG or not isinstance(values, np.ndarray) else values[:_LONG]:
        if not isinstance(value, str):
            raise ColumnError(f"{_show(value)}; {expects}")


class _Category:
    takes_lists, takes_bytes = False, False

    def __init__(self, feature: CategoryFeature) -> None:
        self._name = feature.name
        self._index = {value: place for place, value in enumerate(feature.vocabulary, 1)}
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("int32", ())}
        self.sizes = {feature.name: len(feature.vocabulary) + 1}
        self.default = feature.default
        known = ", ".join(feature.vocabulary[:5])
        self.expects = f"a string is expected, for example {known}"

    def encode(self, values: Values) -> dict[str, Array]:
        _check_strings(values, self.expects)
        return {self._name: _by_distinct(values, lambda value: self._index.get(value, 0)).astype(np.int32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        if type(value) is not str:
            raise ColumnError(self.expects)
        row.append(self._index.get(value, 0))

    def parse(self, texts: list[str]) -> str:
        return _single(texts, self.expects)


#: Part of a date to how it is read and how many values it has.
_PARTS: dict[DatePart, tuple[Callable[[datetime.date], int], int]] = {
    DatePart.MONTH: (lambda date: date.month - 1, 12),
    DatePart.DAY: (lambda date: date.day - 1, 31),
    DatePart.WEEKDAY: (lambda date: date.weekday(), 7),
    DatePart.DAY_OF_YEAR: (lambda date: date.timetuple().tm_yday - 1, 366),
}


class _Date:
    takes_lists, takes_bytes = False, False
    expects = "a date like 2013-05-17 is expected"

    def __init__(self, feature: DateFeature) -> None:
        self._readers = [(f"{feature.name}_{part}", _PARTS[part][0]) for part in feature.parts]
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {name: ("int32", ()) for name, _ in self._readers}
        self.sizes = {f"{feature.name}_{part}": _PARTS[part][1] for part in feature.parts}
        self.default = feature.default

    def encode(self, values: Values) -> dict[str, Array]:
        _check_strings(values, self.expects)
        parts = _by_distinct(values, self._read).astype(np.int32).reshape(len(values), len(self._readers))
        return {name: parts[:, place] for place, (name, _) in enumerate(self._readers)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        if type(value) is not str:
            raise ColumnError(self.expects)
        row += self._read(value)

    def _read(self, text: str) -> list[int]:
        try:
            date = datetime.date.fromisoformat(text)
        except ValueError as error:
            raise ColumnError(f"{_show(text)}; {self.expects}") from error
        return [read(date) for _, read in self._readers]

    def parse(self, texts: list[str]) -> str:
        text = _single(texts, self.expects)
        self._read(text)
        return text


class _Tensor:
    takes_lists, takes_bytes = True, False
    default = None

    def __init__(self, feature: TensorFeature) -> None:
        self._feature = feature
        self._shape = tuple(feature.shape)
        self._size = math.prod(feature.shape)
        self.inputs = {feature.name: ("float32", self._shape)}
        self.sizes: dict[str, int] = {}
        dimensions = "x".join(map(str, self._shape))
        numbers = f"numbers{_range_words(feature.minimum, feature.maximum)}"
        self.expects = f"{self._size} {numbers} ({dimensions}), nested or flat, are expected"

    def encode(self, values: Values) -> dict[str, Array]:
        feature = self._feature
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise ColumnError(f"uneven lists; {self.expects}") from error
        if array.dtype.kind not in "iuf":
            raise ColumnError(f"not numbers; {self.expects}")
        if array.shape[1:] not in (self._shape, (self._size,)):
            raise ColumnError(f"shape {list(array.shape[1:])}; {self.expects}")
        if not np.isfinite(array).all():
            raise ColumnError(f"NaN or infinite; {self.expects}")
        _check_bounds(array, feature.minimum, feature.maximum, self.expects)
        scaled = array.reshape(len(array), *self._shape).astype(np.float32) * np.float32(feature.scale)
        return {feature.name: (scaled + np.float32(feature.offset)).astype(np.float32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        row.append(self.encode([value])[self._feature.name][0])

    def parse(self, texts: list[str]) -> list[float]:
        parts = texts[0].split(",") if len(texts) == 1 else texts
        try:
            return [float(part) for part in parts]
        except ValueError as error:
            raise ColumnError(f"not numbers; {self.expects}") from error


_ENCODERS: dict[type, Callable[[Any], ColumnEncoder]] = {
    NumberFeature: _Number,
    IntegerFeature: _Integer,
    BooleanFeature: _Boolean,
    CategoryFeature: _Category,
    DateFeature: _Date,
    TensorFeature: _Tensor,
}


def encoder_for(feature: Any) -> ColumnEncoder:
    """Return the encoder of a feature."""
    return _ENCODERS[type(feature)](feature)
