"""A run, as its script sees it: the same on a laptop and in the cluster."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from modelyard.contract import layout
from modelyard.contract.package import Features, Labels
from modelyard.contract.wire import Environment, Phase, Published, RunDocument
from modelyard.model.comparing import Evaluate
from modelyard.model.encoders import Array
from modelyard.model.publishing import Publication, publish
from modelyard.model.storage import NotFound, open_store
from modelyard.model.storage.files import FileStore
from modelyard.training.distributing import Group, join, place_of
from modelyard.training.errors import ConfigurationError
from modelyard.training.progress import ProgressFile
from modelyard.training.state import State, StateStore

if TYPE_CHECKING:
    import tensorflow as tf

    from modelyard.training.batches import Batches

__all__ = ["Run", "run"]

#: Seconds between two looks for what the chief publishes.
_LOOK_SECONDS = 0.5

Value = TypeVar("Value", bool, int, float, str, list[Any], dict[str, Any])


def run() -> Run:
    """Return the run of this process: the cluster's if it is one, else a local one with results under ./runs/."""
    return Run.begin(os.environ, sys.argv)


class Run:
    """What a training script is given, and where it hands in what it made."""

    def __init__(
        self, document: RunDocument, *, attempt: str, progress: Path | None, environment: Mapping[str, str]
    ) -> None:
        self._document = document
        self._environment = environment
        self._place = place_of(environment)
        # before anything else that TensorFlow is asked to do
        self.group: Group | None = join(self._place) if self._place else None
        self.name = document.run
        self.attempt = attempt
        self.checkpointing = document.checkpointing
        self.seed = document.seed
        self.is_local = progress is None
        self.progress = ProgressFile(progress, document.run, attempt)
        self._store = open_store(document.output, environment)
        self._states = StateStore(self._store, document.run, document.checkpointing.keep)
        self.resumed: State | None = None if self.is_local else self._states.newest()
        if self.resumed is not None:
            step = self.resumed.position.step
            self.progress.tell(resumed_step=step, saved_step=step)
        self.current: Batches | None = None
        """What `batches` made last: a state is saved within its epochs too."""

    @classmethod
    def begin(cls, environment: Mapping[str, str], arguments: Sequence[str]) -> Run:
        """Begin the run that the environment describes; raise ConfigurationError."""
        path = environment.get(Environment.RUN)
        if path:
            document = RunDocument.model_validate_json(Path(path).read_bytes())
            attempt = environment.get(Environment.ATTEMPT) or uuid.uuid4().hex
            progress = Path(environment[Environment.PROGRESS])
            begun = cls(document, attempt=attempt, progress=progress, environment=environment)
        else:
            begun = cls(
                _local_document(arguments), attempt=uuid.uuid4().hex[:12], progress=None, environment=environment
            )
        begun.seed_everything()
        return begun

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """The manifest's `spec.hyperparameters`, or `--set NAME=VALUE` on a laptop."""
        return self._document.hyperparameters

    def hyperparameter(self, name: str, default: Value) -> Value:
        """Return one hyperparameter, of its default's type; raise ConfigurationError if it has another."""
        value = self.hyperparameters.get(name, default)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            kind = type(default).__name__
            raise ConfigurationError(f"spec.hyperparameters.{name} is {value!r}: expected {kind}, like {default!r}")
        return value

    def data(self, name: str) -> str:
        """Return the URI of the data source of that name; raise ConfigurationError if there is none."""
        for source in self._document.data:
            if source.name == name:
                return source.uri
        known = ", ".join(source.name for source in self._document.data) or "none"
        raise ConfigurationError(f"spec.data has no source {name!r}; there are: {known}")

    def path(self, name: str) -> Path:
        """Return a local path of a data source, copied from its store if it is not local; raise StorageError."""
        folder, _, file = self.data(name).rpartition("/")
        store = open_store(folder, self._environment)
        if isinstance(store, FileStore):
            return store.local_path(file)
        target = Path(tempfile.mkdtemp(prefix="modelyard-data-")) / file
        store.download(file, target)
        return target

    @property
    def initial_epoch(self) -> int:
        """Epochs that an earlier attempt finished: pass it to `fit`."""
        return self.resumed.position.epoch if self.resumed else 0

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """The strategy of `spec.distribution`: make and compile the model in its scope. Alone: one without effect."""
        import tensorflow as tf

        return self.group.strategy if self.group else tf.distribute.get_strategy()

    @property
    def is_chief(self) -> bool:
        """Whether this process saves states and publishes; always true for one that trains alone."""
        return self._place is None or self._place.is_chief

    @property
    def is_evaluator(self) -> bool:
        """Whether this process is the evaluator of `spec.distribution`."""
        return self._place is not None and self._place.type == "evaluator"

    def batches(self, *arrays: Any, batch_size: int = 32, shuffle: bool = True) -> tf.data.Dataset:
        """Return what `fit` takes: `(x, y)` or `(x, y, weights)` in batches, shuffled anew each epoch by the seed.

        Each argument is an array or a mapping of them, all with as many rows; raise ValueError if they differ. A run
        that trains on these batches is resumed within an epoch, at the very batch. Of several workers each gets its
        part of every batch.
        """
        from modelyard.training.batches import Batches

        # they are shuffled already, and an epoch that is gone on with is shorter: Keras need not worry
        for message in ("`shuffle=True` was passed, but will be ignored", "Your input ran out of data"):
            warnings.filterwarnings("ignore", message=message)
        strategy = self.group.strategy if self.group and self.group.in_step else None
        self.current = Batches(arrays, batch_size=batch_size, seed=self.seed, shuffle=shuffle, strategy=strategy)
        return self.current.dataset

    @property
    def verbose(self) -> str | int:
        """What to pass to `fit`: a progress bar on a terminal, a line an epoch elsewhere."""
        return "auto" if sys.stdout.isatty() else 2

    def callback(self) -> Any:
        """Return the Keras callback that tells progress and saves state."""
        from modelyard.training.callbacks import RunCallback

        return RunCallback(self, self._states)

    def seed_everything(self) -> None:
        """Seed the random generators of Python, NumPy and Keras."""
        random.seed(self.seed)
        np.random.seed(self.seed)
        if "keras" in sys.modules:
            sys.modules["keras"].utils.set_random_seed(self.seed)

    def publish(
        self,
        model: Any,
        *,
        features: Features,
        labels: Labels,
        metrics: Mapping[str, float],
        holdout: Mapping[str, Sequence[Any] | Array],
        samples: Sequence[Mapping[str, Any]] = (),
        evaluate: Evaluate | None = None,
    ) -> Published:
        """Publish a Keras model as a package; whole or not at all.

        `holdout` holds raw feature columns that training did not see, `samples` raw requests to replay before serving.
        `evaluate` returns metrics by name of finished outputs on the holdout; variants of `spec.optimise` that change
        one by more than `maxLoss` are not offered. Of several workers the chief publishes; the others wait for it.
        """
        missing = [name for name in self._document.required_metrics if name not in metrics]
        if missing:
            given = ", ".join(metrics) or "none"
            raise ConfigurationError(
                f"spec.gate.metrics asks for {', '.join(missing)}; publish(metrics=...) gives {given}"
            )
        self.progress.tell(phase=Phase.PUBLISHING, metrics={name: float(value) for name, value in metrics.items()})
        if self.group is not None:
            model = self.group.plain(model)
        if not self.is_chief:
            return self._await_published()
        publication = Publication(
            name=self._document.training,
            run=self.name,
            step=self._step,
            attempt=self.attempt,
            features=features,
            labels=labels,
            metrics={name: float(value) for name, value in metrics.items()},
            holdout=holdout,
            samples=samples,
            optimise=self._document.optimise,
            evaluate=evaluate,
        )
        published = publish(model, publication, self._store, lambda: datetime.now(UTC))
        self.progress.tell(phase=Phase.DONE, published=[*self.progress.progress.published, published])
        print(f"published {published.uri} {published.digest}", flush=True)
        return published

    @property
    def _step(self) -> int:
        return self.progress.progress.step or (self.resumed.position.step if self.resumed else 0)

    def _await_published(self) -> Published:
        """Return what the chief publishes of this step. If the chief is lost, so is this process, from outside."""
        marker = layout.published_marker(self.name, self._step)
        while True:
            try:
                return Published.model_validate_json(self._store.read(marker))
            except NotFound:
                time.sleep(_LOOK_SECONDS)


def _local_document(arguments: Sequence[str]) -> RunDocument:
    script = Path(arguments[0]).stem if arguments and arguments[0] else "run"
    hyperparameters: dict[str, Any] = {}
    words = list(arguments[1:])
    while words:
        word = words.pop(0)
        if word != "--set" or not words or "=" not in words[0]:
            raise ConfigurationError(f"{word}: a training script takes only --set NAME=VALUE")
        name, _, text = words.pop(0).partition("=")
        try:
            hyperparameters[name] = json.loads(text)
        except ValueError:
            hyperparameters[name] = text
    name = f"{script}-{time.strftime('%Y%m%d-%H%M%S')}".lower()
    output = Path("runs").absolute()
    return RunDocument(
        training=script, namespace="local", run=name, output=str(output), hyperparameters=hyperparameters
    )
