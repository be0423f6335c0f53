"""One encoder for each feature type: whole columns of raw values in, arrays out."""

from collections.abc import Callable, Iterable
from typing import Any

from modelyard.contract.package import (
    BooleanFeature,
    BucketFeature,
    CategoryFeature,
    DateFeature,
    HashFeature,
    ImageFeature,
    IntegerFeature,
    ListFeature,
    NumberFeature,
    TensorFeature,
)
from modelyard.model.encoders.common import Array, ColumnEncoder, ColumnError
from modelyard.model.encoders.numbers import BooleanEncoder, BucketEncoder, IntegerEncoder, NumberEncoder, NumberTable
from modelyard.model.encoders.tensors import ImageEncoder, TensorEncoder
from modelyard.model.encoders.texts import CategoryEncoder, DateEncoder, HashEncoder, ListEncoder

__all__ = ["Array", "ColumnEncoder", "ColumnError", "NumberTable", "encoder_for", "number_table"]

_ENCODERS: dict[type, Callable[[Any], ColumnEncoder]] = {
    NumberFeature: NumberEncoder,
    IntegerFeature: IntegerEncoder,
    BooleanFeature: BooleanEncoder,
    CategoryFeature: CategoryEncoder,
    DateFeature: DateEncoder,
    HashFeature: HashEncoder,
    BucketFeature: BucketEncoder,
    ListFeature: ListEncoder,
    TensorFeature: TensorEncoder,
    ImageFeature: ImageEncoder,
}


def encoder_for(feature: Any) -> ColumnEncoder:
    """Return the encoder of a feature."""
    return _ENCODERS[type(feature)](feature)


def number_table(encoders: Iterable[ColumnEncoder]) -> NumberTable:
    """Return what encodes the numbers among these together."""
    return NumberTable([encoder for encoder in encoders if isinstance(encoder, NumberEncoder)])
