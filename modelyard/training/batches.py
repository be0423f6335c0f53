"""Batches whose order is known from the seed and the epoch alone, so that a resumed run goes on within an epoch."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from modelyard.model.encoders import Array
from modelyard.training.sharing import Shares

__all__ = ["Batches", "Resumable"]


class Resumable(Protocol):
    """Batches of a known order: what a run needs to go on with the very batch that is next."""

    @property
    def dataset(self) -> Any:
        """What `fit` takes."""

    @property
    def steps(self) -> int:
        """Batches of a whole epoch."""

    def begin_epoch(self, epoch: int, first: int = 0) -> None:
        """Say which epoch the next pass over the dataset is, and which batch it begins with."""


class Batches:
    """Shuffled batches of arrays in memory; `dataset` is what `fit` takes."""

    def __init__(
        self,
        arrays: Any,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        strategy: tf.distribute.Strategy | None = None,
        then: Callable[..., Any] | None = None,
    ) -> None:
        """`arrays` is a nest of arrays with the same first dimension; raise ValueError if it differs.

        With a strategy each of its replicas takes its part of every batch; raise ConfigurationError if it cannot.
        `then` makes of each batch what is trained on, several batches at a time.
        """
        lengths = {len(array) for array in tf.nest.flatten(arrays)}
        if len(lengths) != 1:
            raise ValueError(f"the arrays have {', '.join(map(str, sorted(lengths)))} rows: as many each are expected")
        [self._rows] = lengths
        self._size, self._seed, self._shuffle = batch_size, seed, shuffle
        tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays)
        # read whenever a pass begins: the same graph serves every epoch
        self._order = order = tf.Variable(self.order(0), trainable=False)
        self._first = first = tf.Variable(0, trainable=False, dtype=tf.int64)

        def rows_of(place: Any) -> Any:
            return order[place * batch_size : (place + 1) * batch_size]

        def batch(rows: Any) -> Any:
            return tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), tensors)

        def places() -> tf.data.Dataset:
            return tf.data.Dataset.range(1).flat_map(lambda _: tf.data.Dataset.range(first, self.steps))

        def read(numbers: tf.data.Dataset, function: Any) -> tf.data.Dataset:
            chosen = numbers.map(function, num_parallel_calls=tf.data.AUTOTUNE)
            if then is not None:
                chosen = chosen.map(then, num_parallel_calls=tf.data.AUTOTUNE)
            return chosen.prefetch(tf.data.AUTOTUNE)

        if strategy is None:
            self.dataset = read(places(), lambda place: batch(rows_of(place)))
            # Keras takes the length of every epoch from here, and ends one early that begins at a later batch
            self.dataset.cardinality = lambda: self.steps
            return
        shares = Shares(strategy, rows=self._rows, batch_size=batch_size)

        def part(place: Any, replica: Any) -> Any:
            return shares.take(batch, rows_of(place), tf.cast(replica, tf.int32))

        def local(start: int, count: int) -> tf.data.Dataset:
            replicas = tf.data.Dataset.range(start, start + count)
            pairs = places().flat_map(lambda place: replicas.map(lambda replica: (place, replica)))
            return read(pairs, part)

        self.dataset = shares.distribute(local, self.steps)

    @property
    def steps(self) -> int:
        """Batches of a whole epoch."""
        return -(-self._rows // self._size)

    def begin_epoch(self, epoch: int, first: int = 0) -> None:
        """Say which epoch the next pass over the dataset is, and which batch it begins with."""
        self._order.assign(self.order(epoch))
        self._first.assign(first)

    def order(self, epoch: int) -> Array:
        """Return the rows in the order of an epoch."""
        if not self._shuffle:
            return np.arange(self._rows)
        return np.random.default_rng([self._seed, epoch]).permutation(self._rows)
