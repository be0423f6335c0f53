"""What a run publishes and when: at its end, or whenever a metric is better than ever."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from modelyard.contract import layout
from modelyard.contract.training import MetricMode, Publish, PublishWhen
from modelyard.contract.wire import MOST_PUBLISHED, Phase, Published
from modelyard.model.encoders import Array
from modelyard.model.features import Encoder
from modelyard.model.labels import Answerer
from modelyard.model.sources import PublishError
from modelyard.model.storage import StorageError, Store
from modelyard.training.distributing import Group
from modelyard.training.errors import ConfigurationError
from modelyard.training.keeping import numbers
from modelyard.training.progress import ProgressFile
from modelyard.training.state import Position, random_states, restore_random

__all__ = ["Publisher", "published_before"]

_BATCH = 1024


class Host(Protocol):
    """What a publisher needs of its run."""

    progress: ProgressFile
    group: Group | None

    @property
    def policy(self) -> Publish:
        """When to publish."""

    @property
    def published(self) -> Sequence[Published]:
        """What this run has published, earlier attempts included."""

    @property
    def publish(self) -> Callable[..., Published]:
        """Publishes a model now."""


class Publisher:
    """Publishes one model of a run, as `spec.publish` says."""

    def __init__(self, host: Host, what: Mapping[str, Any]) -> None:
        """`what` is everything that `run.publish` takes but the model and its metrics."""
        self._host = host
        self._what = what
        self._missed = False
        self._inputs: Mapping[str, Array] | None = None

    @property
    def best(self) -> Published | None:
        """The best package so far by the watched metric, whichever attempt published it."""
        policy = self._host.policy
        known = [package for package in self._host.published if policy.metric in package.metrics]
        best = max if policy.mode is MetricMode.MAX else min
        return best(known, key=lambda package: package.metrics[str(policy.metric)], default=None)

    def publish(self, model: Any, metrics: Mapping[str, float] | None = None) -> Published:
        """Publish what training has ended with, and return its package; call it once at the end.

        With `publish.when: Improved` it is published only if it is better than what was; else the best is returned.
        Without `metrics` they are what `evaluate` returns. Raises PublishError, StorageError or ConfigurationError.
        """
        told = self.measure(model) if metrics is None else dict(metrics)
        best = self.best if self._host.policy.when is PublishWhen.IMPROVED else None
        if best is None or self._missed or self._is_better(told.get(str(self._host.policy.metric), math.nan)):
            return self._host.publish(model, metrics=told, **self._what)
        self._host.progress.tell(phase=Phase.DONE, metrics=dict(best.metrics))
        print(f"the best is {best.uri} {best.digest}", flush=True)
        return best

    def improved(
        self, model: Any, metrics: Mapping[str, float], before: Callable[[], None] = lambda: None
    ) -> Published | None:
        """Publish if `publish.when` is `Improved` and the watched one of these metrics is the best so far.

        The Keras callback calls it after each epoch; a loop of one's own does, before `run.end_epoch`. `before` is
        called when it comes to that. What cannot be published is told on standard error and made up for at the end;
        only a run that has published nothing yet fails by it. Raises ConfigurationError.
        """
        policy = self._host.policy
        if policy.when is not PublishWhen.IMPROVED:
            return None
        metric, told = str(policy.metric), numbers(metrics)
        measured = None if metric in told else self.measure(model)
        value = told.get(metric, (measured or {}).get(metric))
        if value is None:
            known = ", ".join([*told, *(measured or {})]) or "none"
            raise ConfigurationError(f"spec.publish.metric is {metric}, which no epoch has; there are: {known}")
        if not self._is_better(value):
            return None
        before()
        return self._publish_between(model, told | (measured or self.measure(model)) | {metric: value})

    def measure(self, model: Any) -> dict[str, float]:
        """Return what the script's `evaluate` makes of the model's outputs on the held-out rows; empty without it."""
        evaluate = self._what.get("evaluate")
        if evaluate is None:
            return {}
        if self._host.group is not None:
            model = self._host.group.plain(model)
        if self._inputs is None:
            self._inputs = Encoder(self._what["features"]).encode_columns(self._what["holdout"])
        rows = len(next(iter(self._inputs.values())))
        parts = []
        for start in range(0, rows, _BATCH):
            few = {name: values[start : start + _BATCH] for name, values in self._inputs.items()}
            parts.append({name: np.asarray(value) for name, value in model(few, training=False).items()})
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return numbers(evaluate(Answerer(self._what["labels"]).finish(outputs)))

    def _is_better(self, value: float) -> bool:
        policy, best = self._host.policy, self.best
        if best is None or not math.isfinite(value):
            return math.isfinite(value)
        gained = value - best.metrics[str(policy.metric)]
        return (gained if policy.mode is MetricMode.MAX else -gained) > policy.min_delta

    def _publish_between(self, model: Any, metrics: Mapping[str, float]) -> Published | None:
        before = Position(0, 0, random=random_states())
        try:
            published = self._host.publish(model, metrics=metrics, **self._what)
        except (PublishError, StorageError) as error:
            if not self._host.published or self._host.group is not None:
                # of several processes the others wait for it
                raise
            print(f"what has improved is not published: {error}", file=sys.stderr, flush=True)
            self._missed = True
            return None
        finally:
            # training goes on as if nothing had been drawn meanwhile
            restore_random(before)
            self._host.progress.tell(phase=Phase.TRAINING)
        self._missed = False
        return published


def published_before(store: Store, run: str) -> list[Published]:
    """Return the newest packages that earlier attempts of a run published, by step; raise StorageError."""
    folder = layout.published_folder(run)
    markers = sorted(store.list(folder), key=lambda path: int(path.rpartition("/")[2].removesuffix(".json")))
    return [Published.model_validate_json(store.read(path)) for path in markers[-MOST_PUBLISHED:]]
