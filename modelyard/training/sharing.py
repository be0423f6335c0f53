"""Sharing a batch among replicas so that their gradients add up to those of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from modelyard.training.errors import ConfigurationError

__all__ = ["Shares"]


class Shares:
    """The parts of each batch that the replicas of a strategy take.

    Keras divides a replica's mean loss by the number of replicas. That is the batch's own mean if all parts are of one
    size. Of a last batch that cannot be divided evenly, the rows of larger parts weigh more; a replica for which there
    is no row at all takes one with weight 0.
    """

    def __init__(self, strategy: tf.distribute.Strategy, *, rows: int, batch_size: int) -> None:
        """Raise ConfigurationError if the batches cannot be divided."""
        self._strategy = strategy
        self.replicas = int(strategy.num_replicas_in_sync)
        if batch_size % self.replicas:
            raise ConfigurationError(
                f"run.batches(batch_size={batch_size}): choose a multiple of {self.replicas}, the number of replicas "
                "that share each batch"
            )
        self.is_weighted = bool(rows % batch_size % self.replicas)
        """Whether the last batch needs weights."""

    def take(self, batch: Callable[[Any], Any], rows: Any, replica: Any) -> Any:
        """Return a replica's part of a batch: `batch(rows)`, with weights if the batches need them."""
        count = tf.shape(rows)[0]
        start, end = replica * count // self.replicas, (replica + 1) * count // self.replicas
        size, first = end - start, tf.minimum(start, count - 1)
        taken = batch(rows[first : first + tf.maximum(size, 1)])
        if not self.is_weighted:
            return taken
        if len(taken) < 2:
            raise ConfigurationError(
                "run.batches(x): the last batch cannot be divided among the replicas; give targets, or a batch_size "
                "that leaves a last batch which can be"
            )
        weight = tf.cast(self.replicas * size / count, tf.float32)
        weights = tf.repeat(weight, tf.maximum(size, 1))
        if len(taken) == 3:
            weights *= tf.cast(taken[2], tf.float32)
        return (*taken[:2], weights)

    def distribute(self, dataset: Callable[[int, int], tf.data.Dataset], steps: int) -> Any:
        """Return the strategy's dataset of `dataset(first, count)`: the parts of `count` replicas from `first` on."""

        def local(context: tf.distribute.InputContext) -> tf.data.Dataset:
            count = context.num_replicas_in_sync // context.num_input_pipelines
            return dataset(context.input_pipeline_id * count, count)

        distributed = self._strategy.distribute_datasets_from_function(local)
        # Keras takes the length of every epoch from here
        known = type("Known", (type(distributed),), {"cardinality": property(lambda _: steps)})
        distributed.__class__ = known
        return distributed
