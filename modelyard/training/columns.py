"""Columns of Arrow tables as arrays: types kept, empty values where there is one for them."""

from typing import Any

import pyarrow as pa

from modelyard.model.encoders import Array
from modelyard.training.rows import ColumnProblem

__all__ = ["array_of", "type_of"]


def type_of(name: str, kind: str) -> pa.DataType:
    """Return the Arrow type of a name like `float32`, `int64`, `bool` or `string`; raise ColumnProblem."""
    try:
        return pa.type_for_alias(kind)
    except ValueError as error:
        raise ColumnProblem(f"types={{{name!r}: {kind!r}}}: there are float32, int64, bool, string, date32") from error


def array_of(name: str, column: pa.ChunkedArray, default: Any = None) -> Array:
    """Return a column as an array of shape `(rows, ...)`; raise ColumnProblem.

    Empty values become `default`; without one they become NaN in float columns and "" in text. Dates become text.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if _is_list(kind):
        return _tensor(name, column)
    if not (pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ColumnProblem(f"column {name} holds {kind}: leave it out with columns=[...]")
    if column.null_count:
        column = column.fill_null(_filling(name, kind, default))
    array: Array = column.to_numpy()
    return array


def _filling(name: str, kind: pa.DataType, default: Any) -> Any:
    if default is not None:
        return default
    if pa.types.is_floating(kind):
        return float("nan")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ""
    raise ColumnProblem(f"column {name} ({kind}) has empty values: types={{{name!r}: 'float32'}} reads them as NaN")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _tensor(name: str, column: pa.ChunkedArray) -> Array:
    """Stack lists of one length; lists of lists become matrices."""
    rows = len(column)
    values = column.combine_chunks()
    if values.null_count:
        raise ColumnProblem(f"column {name} ({column.type}) has empty values: fill them when the data is made")
    shape = [rows]
    while _is_list(values.type):
        inner = values.flatten()
        length = len(inner) // len(values) if len(values) else getattr(values.type, "list_size", 0)
        lengths = {length} if pa.types.is_fixed_size_list(values.type) else set(values.value_lengths().to_pylist())
        if lengths - {length}:
            raise ColumnProblem(f"column {name} holds lists of different lengths: pad them when the data is made")
        shape.append(length)
        values = inner
    if values.null_count:
        raise ColumnProblem(f"column {name} ({column.type}) has empty values: fill them when the data is made")
    array: Array = values.to_numpy(zero_copy_only=False).reshape(shape)
    return array
