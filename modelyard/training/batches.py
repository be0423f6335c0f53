"""Batches whose order is known from the seed and the epoch alone, so that a resumed run goes on within an epoch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from modelyard.model.encoders import Array

__all__ = ["Batches"]


class Batches:
    """Shuffled batches of arrays in memory; `dataset` is what `fit` takes."""

    def __init__(self, arrays: Any, *, batch_size: int, seed: int, shuffle: bool = True) -> None:
        """`arrays` is a nest of arrays with the same first dimension; raise ValueError if it differs."""
        lengths = {len(array) for array in tf.nest.flatten(arrays)}
        if len(lengths) != 1:
            raise ValueError(f"the arrays have {', '.join(map(str, sorted(lengths)))} rows: as many each are expected")
        [self._rows] = lengths
        self._size, self._seed, self._shuffle = batch_size, seed, shuffle
        self._epoch = self._first = 0
        tensors = tf.nest.map_structure(tf.convert_to_tensor, arrays)
        orders = tf.data.Dataset.from_generator(self._order, output_signature=tf.TensorSpec((None,), tf.int64))
        places = orders.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(batch_size))
        self.dataset = places.map(
            lambda rows: tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), tensors),
            num_parallel_calls=tf.data.AUTOTUNE,
        ).prefetch(tf.data.AUTOTUNE)
        # Keras takes the length of every epoch from here, and ends one early that begins at a later batch
        self.dataset.cardinality = lambda: self.steps

    @property
    def steps(self) -> int:
        """Batches of a whole epoch."""
        return -(-self._rows // self._size)

    def begin_epoch(self, epoch: int, first: int = 0) -> None:
        """Say which epoch the next pass over the dataset is, and which batch it begins with."""
        self._epoch, self._first = epoch, first

    def order(self, epoch: int) -> Array:
        """Return the rows in the order of an epoch."""
        if not self._shuffle:
            return np.arange(self._rows)
        return np.random.default_rng([self._seed, epoch]).permutation(self._rows)

    def _order(self) -> Iterator[Array]:
        yield self.order(self._epoch)[self._first * self._size :]
