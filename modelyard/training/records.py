"""TFRecord files in batches whose order is known from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modelyard.model.encoders import Array
from modelyard.training.rows import ColumnProblem

__all__ = ["RecordBatches"]


class RecordBatches:
    """Batches of serialized `tf.train.Example`s, parsed; `dataset` is what `fit` takes.

    Files are taken in an order of their own each epoch, records shuffled within a window. A pass that begins at a
    later batch reads what lies before it, and leaves it out.
    """

    def __init__(
        self,
        files: Sequence[Path],
        parse: Callable[[Any], Any],
        *,
        batch_size: int,
        seed: int,
        window: int,
        finished: Callable[[], None] = lambda: None,
    ) -> None:
        """`parse` makes `x` or `(x, y)` of a batch of serialized records; raise ColumnProblem if there are none."""
        self._files, self._size, self._seed, self._window = len(files), batch_size, seed, window
        names = tf.constant([str(file) for file in files])
        compression = "GZIP" if files[0].suffix == ".gz" else ""
        self._count = int(tf.data.TFRecordDataset(names, compression).reduce(np.int64(0), lambda n, _: n + 1))
        if not self._count:
            raise ColumnProblem("there are no records")
        # read whenever a pass begins: the same graph serves every epoch
        self._order = order = tf.Variable(self._order_of(0), trainable=False)
        self._epoch = epoch = tf.Variable(0, trainable=False, dtype=tf.int64)
        self._first = first = tf.Variable(0, trainable=False, dtype=tf.int64)

        def read(_: Any) -> Any:
            records = tf.data.TFRecordDataset(tf.gather(names, order), compression)
            if window:
                # not `shuffle`: what it draws depends on the seed of the whole process too
                mixed = tf.random.experimental.stateless_fold_in([seed, 0], epoch)
                records = records.batch(window).enumerate().map(lambda place, part: _shuffled(part, mixed, place))
                records = records.unbatch()
            return records.batch(batch_size).skip(first)

        def finish() -> Any:
            finished()
            return np.int64(0)

        records = tf.data.Dataset.range(1).flat_map(read)
        # an empty last part, whose only use is that it is asked for when all the rest is read
        end = tf.data.Dataset.range(1).filter(lambda _: tf.numpy_function(finish, [], tf.int64) > 0)
        records = records.concatenate(end.map(lambda _: tf.zeros([0], tf.string)))
        self.dataset = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
        self.dataset.cardinality = lambda: self.steps

    @property
    def steps(self) -> int:
        """Batches of a whole epoch."""
        return -(-self._count // self._size)

    def begin_epoch(self, epoch: int, first: int = 0) -> None:
        """Say which epoch the next pass over the dataset is, and which batch it begins with."""
        self._order.assign(self._order_of(epoch))
        self._epoch.assign(epoch)
        self._first.assign(first)

    def _order_of(self, epoch: int) -> Array:
        if not self._window:
            return np.arange(self._files)
        return np.random.default_rng([self._seed, epoch]).permutation(self._files)


def _shuffled(records: Any, seed: Any, place: Any) -> Any:
    """Return the records of one window in an order that the seed and its place give."""
    return tf.random.experimental.stateless_shuffle(records, tf.random.experimental.stateless_fold_in(seed, place))
