"""Rows of CSV and Parquet files in batches: read a window at a time, in an order known from seed and epoch alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import tensorflow as tf

from modelyard.model.encoders import Array
from modelyard.training.columns import array_of, type_of
from modelyard.training.rows import ColumnProblem, Rows

__all__ = ["TableBatches", "parquet_of"]

#: Rows of a row group of the tables that CSV files become.
_GROUP = 1 << 16
_BLOCK_BYTES = 1 << 24

#: One row group: the file, its place in it, its rows.
Block = tuple[Path, int, int]


class TableBatches:
    """Batches of rows; `dataset` is what `fit` takes.

    Row groups are taken in an order of their own each epoch, put together to windows, and shuffled within these. A
    pass may begin at any batch without reading what lies before its window.
    """

    def __init__(
        self,
        files: Sequence[Path],
        rows: Rows,
        *,
        batch_size: int,
        seed: int,
        window: int,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`window`: rows that are shuffled together; 0 keeps the order. Each pass is within `reading()`."""
        self._rows, self._size, self._seed, self._window = rows, batch_size, seed, window
        self._reading = reading
        self._blocks = [block for file in files for block in _blocks(file)]
        self._count = sum(count for _, _, count in self._blocks)
        if not self._count:
            raise ColumnProblem("there are no rows")
        self._columns = self._needed(pa.parquet.read_schema(files[0]).names)
        self._epoch, self._first = 0, 0
        example = self._arrays(self._read(self._blocks[:1]))
        signature = tf.nest.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(_kind(array))), example
        )
        windows = tf.data.Dataset.from_generator(self._pass, output_signature=signature)
        self.dataset = windows.prefetch(1).rebatch(batch_size).prefetch(tf.data.AUTOTUNE)
        # Keras takes the length of every epoch from here
        self.dataset.cardinality = lambda: self.steps

    @property
    def steps(self) -> int:
        """Batches of a whole epoch."""
        return -(-self._count // self._size)

    def begin_epoch(self, epoch: int, first: int = 0) -> None:
        """Say which epoch the next pass over the dataset is, and which batch it begins with."""
        self._epoch, self._first = epoch, first

    def _pass(self) -> Iterator[Any]:
        """Yield the shuffled rows of each window, without those of the first batches."""
        with self._reading():
            yield from self._shuffled()

    def _shuffled(self) -> Iterator[Any]:
        epoch, skip = self._epoch, self._first * self._size
        self._first = 0
        for number, window in enumerate(self._windows(epoch)):
            count = sum(rows for _, _, rows in window)
            if skip >= count:
                skip -= count
                continue
            order = np.random.default_rng([self._seed, epoch, number]).permutation(count) if self._window else None
            chosen = slice(skip, None) if order is None else order[skip:]
            skip = 0
            arrays = self._arrays(self._read(window))
            yield tf.nest.map_structure(lambda array, chosen=chosen: array[chosen], arrays)

    def _windows(self, epoch: int) -> Iterator[list[Block]]:
        """Yield the row groups that are shuffled together."""
        order: Sequence[int] | Array = range(len(self._blocks))
        if self._window:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._blocks))
        window: list[Block] = []
        for place in order:
            window.append(self._blocks[place])
            if sum(rows for _, _, rows in window) >= max(self._window, 1):
                yield window
                window = []
        if window:
            yield window

    def _arrays(self, table: pa.Table) -> Any:
        for name, kind in (self._rows.types or {}).items():
            place = table.schema.get_field_index(name)
            try:
                table = table.set_column(place, name, table[name].cast(type_of(name, kind)))
            except pa.ArrowInvalid as error:
                raise ColumnProblem(f"column {name} does not fit types={{{name!r}: {kind!r}}}: {error}") from error
        return self._rows.arrays(table.column_names, lambda name, default: _column(name, table[name], default))

    def _needed(self, known: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*self._rows.inputs(known), *self._rows.labels.values(), *(self._rows.types or {})]))

    def _read(self, blocks: Sequence[Block]) -> pa.Table:
        tables = []
        for file, group, _ in blocks:
            with pa.parquet.ParquetFile(file, memory_map=True) as reader:
                tables.append(reader.read_row_group(group, columns=self._columns))
        return pa.concat_tables(tables, promote_options="permissive")


def _column(name: str, column: pa.ChunkedArray, default: Any) -> Any:
    """Return a column as an array; lists of text stay lists, which may be of any length: encoders take them."""
    if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
        return column.to_pylist()
    return array_of(name, column, default)


def _blocks(file: Path) -> Iterator[Block]:
    try:
        metadata = pa.parquet.read_metadata(file)
    except pa.ArrowInvalid as error:
        raise ColumnProblem(f"{file.name} is no Parquet file: {error}") from error
    for group in range(metadata.num_row_groups):
        yield file, group, metadata.row_group(group).num_rows


def _kind(array: Array) -> Any:
    return "string" if array.dtype.kind in "OU" else array.dtype


def parquet_of(sources: Sequence[Path], folder: Path, rows: Rows) -> list[Path]:
    """Return the rows of CSV files as Parquet files in a folder, written unless they are there; raise ColumnProblem.

    Types are those of `rows`, else what the first 16 MiB of the first file look like.
    """
    targets = [folder / f"{number}.parquet" for number in range(len(sources))]
    schema = None
    for source, target in zip(sources, targets, strict=True):
        if not target.exists():
            _convert(source, target, rows, schema)
        schema = schema or pa.parquet.read_schema(target)
    return targets


def _convert(source: Path, target: Path, rows: Rows, like: pa.Schema | None) -> None:
    types = {field.name: field.type for field in like or []}
    types |= {name: type_of(name, kind) for name, kind in (rows.types or {}).items()}
    options = pa.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".unfinished-{uuid.uuid4().hex}")
    try:
        with pa.csv.open_csv(source, pa.csv.ReadOptions(block_size=_BLOCK_BYTES), convert_options=options) as reader:
            rows.inputs(reader.schema.names)
            with pa.parquet.ParquetWriter(temporary, reader.schema) as writer:
                for batch in reader:
                    for start in range(0, len(batch), _GROUP):
                        writer.write_batch(batch.slice(start, _GROUP))
        temporary.replace(target)
    except pa.ArrowInvalid as error:
        raise ColumnProblem(f"{source.name}: {error}: types={{'COLUMN': 'string'}} reads any text") from error
    finally:
        temporary.unlink(missing_ok=True)
