"""Training with several processes: the strategy, this process's place in it, and what the processes agree on.

`TF_CONFIG` says all there is to know. The operator sees to it in the cluster; on a laptop it may be set by hand.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from modelyard.contract.wire import Environment

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Group", "Place", "join", "place_of"]

#: Seconds between two moments at which the processes agree on whether to save or to stop.
_PERIOD = 1.0
#: Steps until the first of them, when nobody knows yet how long a step takes, and at most between two.
_FIRST, _MOST = 1, 10_000


class Place:
    """Which of the processes this one is."""

    def __init__(self, type_: str, index: int, cluster: Mapping[str, list[str]]) -> None:
        self.type, self.index, self.cluster = type_, index, cluster

    @property
    def is_chief(self) -> bool:
        """Whether this process saves and publishes: the chief, or the first worker if there is none."""
        return self.type == "chief" or (self.type == "worker" and self.index == 0 and "chief" not in self.cluster)

    @property
    def serves(self) -> bool:
        """Whether this process only does what the chief tells it: workers and parameter servers of a coordinator."""
        return "ps" in self.cluster and self.type in ("worker", "ps")


def place_of(environment: Mapping[str, str]) -> Place | None:
    """Return this process's place as `TF_CONFIG` says it; None if it trains alone."""
    told = json.loads(environment.get(Environment.TF_CONFIG) or "{}")
    if not told.get("cluster"):
        return None
    task = told.get("task", {})
    return Place(task.get("type", "worker"), int(task.get("index", 0)), told["cluster"])


def join(place: Place) -> Group | None:
    """Take this process's place among the others, before TensorFlow computes anything.

    Returns None for a process that trains alone: the evaluator. Workers and parameter servers of a coordinator serve
    it from here until they are ended, and never return.
    """
    if place.serves:
        _serve(place)
    if place.type == "evaluator":
        return None
    return Group(_strategy(place), place)


def _serve(place: Place) -> NoReturn:
    import tensorflow as tf

    server = tf.distribute.Server(
        tf.train.ClusterSpec(dict(place.cluster)), job_name=place.type, task_index=place.index, protocol="grpc"
    )
    server.join()
    raise SystemExit(0)


def _strategy(place: Place) -> tf.distribute.Strategy:
    import tensorflow as tf

    if "ps" in place.cluster:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        return tf.distribute.ParameterServerStrategy(resolver)

    class Workers(tf.distribute.MultiWorkerMirroredStrategy):  # type: ignore[misc]
        """Reduces what Keras hands over and TensorFlow refuses."""

        def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
            if tf.nest.is_nested(value) and not isinstance(value, tf.distribute.DistributedValues):
                # a whole batch, of which Keras wants the shapes to build a model from
                return tf.nest.map_structure(lambda item: self.experimental_local_results(item)[0], value)
            if axis is not None and self.experimental_local_results(value)[0].shape.rank == 0:
                # a metric of each worker has no axis to reduce
                axis = None
            return super().reduce(reduce_op, value, axis)

    return Workers()


class Group:
    """The processes that go step by step together, as one of them sees it."""

    def __init__(
        self, strategy: tf.distribute.Strategy, place: Place, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.strategy = strategy
        self.is_chief = place.is_chief
        self.in_step = "ps" not in place.cluster
        """Whether every process runs the script; else the coordinator alone does."""
        self._clock = clock
        self._next, self._asked_at, self._asked_step = 0, clock(), 0
        self._sum: Any = None

    def decide(self, step: int, *, stop: bool, save: bool, now: bool = False) -> tuple[bool, bool]:
        """Return whether all stop and whether the state is saved, the same on every process; False between moments.

        All must call it after the same steps. One that was told to stop stops all; the chief says when to save. It
        costs a reduction of three numbers about once a second, and whenever `now` is set.
        """
        if not self.in_step:
            return stop, save
        if step < self._next and not now:
            return False, False
        elapsed, done = self._clock() - self._asked_at, step - self._asked_step
        pace = min(_MOST, max(1, round(done * _PERIOD / elapsed))) if done and elapsed > 0 else _FIRST
        stops, saves, steps = self.add([stop, self.is_chief and save, pace if self.is_chief else 0])
        self._next, self._asked_at, self._asked_step = step + int(steps), self._clock(), step
        return stops > 0, saves > 0

    def agrees(self, number: int) -> bool:
        """Return whether every process has the same number."""
        if not self.in_step:
            return True
        [chiefs] = self.add([number if self.is_chief else 0])
        [others] = self.add([number != chiefs])
        return others == 0

    def add(self, numbers: list[float]) -> list[float]:
        """Return the sums of numbers over the processes; waits until all have called."""
        import tensorflow as tf

        if self._sum is None:
            signature = [tf.TensorSpec([None], tf.float64)]
            self._sum = tf.function(
                lambda values: self.strategy.reduce("SUM", values, axis=None), input_signature=signature
            )
        return [float(value) for value in self._sum(tf.constant([float(number) for number in numbers], tf.float64))]

    def local(self, batch: Any) -> Any:
        """Return this process's part of a batch of the strategy's dataset."""
        import tensorflow as tf

        return tf.nest.map_structure(lambda value: self.strategy.experimental_local_results(value)[0], batch)

    def plain(self, model: Any) -> Any:
        """Return a copy of a Keras model that is this process alone's; every script calls it at the same place."""
        import keras
        import tensorflow as tf

        if not isinstance(model, keras.Model):
            return model
        weights = model.get_weights()
        with tf.distribute.get_strategy().scope():
            copy = keras.models.clone_model(model)
        copy.set_weights(weights)
        return copy
