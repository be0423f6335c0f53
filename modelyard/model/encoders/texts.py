"""Strings: categories, hashes, lists, dates."""

import datetime
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelyard.contract.package import CategoryFeature, DateFeature, DatePart, HashFeature, ListFeature
from modelyard.model.encoders.common import (
    LONG,
    Array,
    ColumnError,
    EncodeOne,
    Values,
    by_distinct,
    check_strings,
    show,
    single,
)

__all__ = ["CategoryEncoder", "DateEncoder", "HashEncoder", "ListEncoder"]


class CategoryEncoder:
    """Encodes a `CategoryFeature`."""

    takes_lists, takes_bytes = False, False

    def __init__(self, feature: CategoryFeature) -> None:
        self._name = feature.name
        self._index = {value: place for place, value in enumerate(feature.vocabulary, 1)}
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("int32", ())}
        self.sizes = {feature.name: len(feature.vocabulary) + 1}
        self.default = feature.default
        known = ", ".join(feature.vocabulary[:5])
        self.expects = f"a string is expected, for example {known}"
        self.encode_one = self.encode_text = self._encoder_of_one()

    def encode(self, values: Values) -> dict[str, Array]:
        check_strings(values, self.expects)
        place_of = self._index.get
        if isinstance(values, list):
            return {self._name: np.array([place_of(value, 0) for value in values], np.int32)}
        return {self._name: by_distinct(values, lambda value: place_of(value, 0)).astype(np.int32)}

    def _encoder_of_one(self) -> EncodeOne:
        place_of, expects = self._index.get, self.expects

        def encode_one(value: Any, row: list[Any]) -> None:
            if type(value) is not str:
                raise ColumnError(expects)
            row.append(place_of(value, 0))

        return encode_one

    def parse(self, texts: list[str]) -> str:
        return single(texts, self.expects)


class HashEncoder:
    """Encodes a `HashFeature`."""

    takes_lists, takes_bytes = False, False
    expects = "a string or a whole number is expected"

    def __init__(self, feature: HashFeature) -> None:
        self._name, self._buckets = feature.name, feature.buckets
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("int32", ())}
        self.sizes = {feature.name: feature.buckets}
        self.default = feature.default

    def encode(self, values: Values) -> dict[str, Array]:
        for value in values[:LONG] if isinstance(values, np.ndarray) else values:
            if not isinstance(value, str | int | np.integer) or isinstance(value, bool):
                raise ColumnError(f"{show(value)}; {self.expects}")
        return {self._name: by_distinct(values, lambda value: self._bucket(str(value))).astype(np.int32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        if type(value) is not str and type(value) is not int:
            raise ColumnError(self.expects)
        row.append(self._bucket(str(value)))

    encode_text = encode_one

    def _bucket(self, text: str) -> int:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "little") % self._buckets

    def parse(self, texts: list[str]) -> str:
        return single(texts, self.expects)


class ListEncoder:
    """Encodes a `ListFeature`."""

    takes_lists, takes_bytes = True, False

    def __init__(self, feature: ListFeature) -> None:
        self._name, self._length = feature.name, feature.length
        self._index = {value: place for place, value in enumerate(feature.vocabulary, 2)}
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("int32", (feature.length,))}
        self.sizes: dict[str, int] = {}
        self.default = feature.default
        self.expects = f"a list of at most {feature.length} strings is expected"

    def encode(self, values: Values) -> dict[str, Array]:
        return {self._name: np.array([self._encode(value) for value in values], np.int32).reshape(-1, self._length)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        row.append(self._encode(value))

    def _encode(self, value: Any) -> list[int]:
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray) or len(value) > self._length:
            raise ColumnError(f"{show(value)}; {self.expects}")
        for item in value:
            if not isinstance(item, str):
                raise ColumnError(f"{show(item)}; {self.expects}")
        found = [self._index.get(item, 1) for item in value]
        return found + [0] * (self._length - len(found))

    def encode_text(self, text: str, row: list[Any]) -> None:
        row.append(self._encode([text]))

    def parse(self, texts: list[str]) -> list[str]:
        return texts


#: Part of a date to how it is read and how many values it has.
_PARTS: dict[DatePart, tuple[Callable[[datetime.date], int], int]] = {
    DatePart.MONTH: (lambda date: date.month - 1, 12),
    DatePart.DAY: (lambda date: date.day - 1, 31),
    DatePart.WEEKDAY: (lambda date: date.weekday(), 7),
    DatePart.DAY_OF_YEAR: (lambda date: date.timetuple().tm_yday - 1, 366),
}


class DateEncoder:
    """Encodes a `DateFeature`."""

    takes_lists, takes_bytes = False, False
    expects = "a date like 2013-05-17 is expected"

    def __init__(self, feature: DateFeature) -> None:
        self._readers = [(f"{feature.name}_{part}", _PARTS[part][0]) for part in feature.parts]
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {name: ("int32", ()) for name, _ in self._readers}
        self.sizes = {f"{feature.name}_{part}": _PARTS[part][1] for part in feature.parts}
        self.default = feature.default

    def encode(self, values: Values) -> dict[str, Array]:
        check_strings(values, self.expects)
        parts = by_distinct(values, self._read).astype(np.int32).reshape(len(values), len(self._readers))
        return {name: parts[:, place] for place, (name, _) in enumerate(self._readers)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        if type(value) is not str:
            raise ColumnError(self.expects)
        row += self._read(value)

    encode_text = encode_one

    def _read(self, text: str) -> list[int]:
        try:
            date = datetime.date.fromisoformat(text)
        except ValueError as error:
            raise ColumnError(f"{show(text)}; {self.expects}") from error
        return [read(date) for _, read in self._readers]

    def parse(self, texts: list[str]) -> str:
        text = single(texts, self.expects)
        self._read(text)
        return text
