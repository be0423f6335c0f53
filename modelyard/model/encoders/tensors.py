"""Tensors and pictures."""

import base64
import math
from typing import Any

import numpy as np

from modelyard.contract.package import ImageFeature, TensorFeature
from modelyard.model.encoders.common import (
    Array,
    ColumnError,
    Values,
    check_bounds,
    range_words,
    single,
)
from modelyard.model.images import decode_image

__all__ = ["ImageEncoder", "TensorEncoder"]


class TensorEncoder:
    """Encodes a `TensorFeature`."""

    takes_lists, takes_bytes = True, False
    default = None

    def __init__(self, feature: TensorFeature) -> None:
        self._feature = feature
        self._shape = tuple(feature.shape)
        self._size = math.prod(feature.shape)
        self.inputs = {feature.name: ("float32", self._shape)}
        self.sizes: dict[str, int] = {}
        dimensions = "x".join(map(str, self._shape))
        numbers = f"numbers{range_words(feature.minimum, feature.maximum)}"
        self.expects = f"{self._size} {numbers} ({dimensions}), nested or flat, are expected"

    def encode(self, values: Values) -> dict[str, Array]:
        feature = self._feature
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise ColumnError(f"uneven lists; {self.expects}") from error
        if array.dtype.kind not in "iuf":
            raise ColumnError(f"not numbers; {self.expects}")
        # a tensor of one number may come as that number
        single = self._size == 1 and array.ndim == 1
        if array.shape[1:] not in (self._shape, (self._size,)) and not single:
            raise ColumnError(f"shape {list(array.shape[1:])}; {self.expects}")
        if not np.isfinite(array).all():
            raise ColumnError(f"NaN or infinite; {self.expects}")
        check_bounds(array, feature.minimum, feature.maximum, self.expects)
        scaled = array.reshape(len(array), *self._shape).astype(np.float32) * np.float32(feature.scale)
        return {feature.name: (scaled + np.float32(feature.offset)).astype(np.float32)}

    def encode_one(self, value: Any, row: list[Any]) -> None:
        row.append(self.encode([value])[self._feature.name][0])

    def encode_text(self, text: str, row: list[Any]) -> None:
        self.encode_one(self.parse([text]), row)

    def parse(self, texts: list[str]) -> list[float]:
        parts = texts[0].split(",") if len(texts) == 1 else texts
        try:
            return [float(part) for part in parts]
        except ValueError as error:
            raise ColumnError(f"not numbers; {self.expects}") from error


class ImageEncoder:
    """Encodes a `ImageFeature`."""

    takes_lists, takes_bytes = True, True
    default = None

    def __init__(self, feature: ImageFeature) -> None:
        self._feature = feature
        self._shape = (feature.height, feature.width, feature.channels)
        self.inputs: dict[str, tuple[str, tuple[int, ...]]] = {feature.name: ("float32", self._shape)}
        self.sizes: dict[str, int] = {}
        dimensions = "x".join(map(str, self._shape))
        self.expects = f"a JPEG or PNG picture, or numbers from 0 to 255 ({dimensions}), is expected"
        self._numbers = TensorEncoder(
            TensorFeature(
                name=feature.name,
                shape=list(self._shape),
                minimum=0,
                maximum=255,
                scale=feature.scale,
                offset=feature.offset,
            )
        )

    def encode(self, values: Values) -> dict[str, Array]:
        if not isinstance(values, np.ndarray):
            values = [self._pixels(value) for value in values]
        return self._numbers.encode(values)

    def encode_one(self, value: Any, row: list[Any]) -> None:
        self._numbers.encode_one(self._pixels(value), row)

    def _pixels(self, value: Any) -> Any:
        if not isinstance(value, bytes | bytearray | memoryview):
            return value
        try:
            return decode_image(bytes(value), self._shape)
        except ValueError as error:
            raise ColumnError(f"{error}; {self.expects}") from error

    def encode_text(self, text: str, row: list[Any]) -> None:
        self.encode_one(self.parse([text]), row)

    def parse(self, texts: list[str]) -> bytes:
        try:
            return base64.b64decode(single(texts, self.expects), altchars=b"-_", validate=True)
        except ValueError as error:
            raise ColumnError(f"no base64 in the URL alphabet; {self.expects}") from error
