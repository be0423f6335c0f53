"""A run, as its script sees it: the same on a laptop and in the cluster."""

from __future__ import annotations

import inspect
import os
import random
import sys
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from modelyard.contract import layout
from modelyard.contract.package import Features, Labels
from modelyard.contract.wire import MOST_PUBLISHED, Environment, Phase, Published, RunDocument
from modelyard.model.comparing import Evaluate
from modelyard.model.encoders import Array
from modelyard.model.lookup import Declared
from modelyard.model.publishing import Publication, publish
from modelyard.model.storage import NotFound, PatientStore, open_store
from modelyard.training.data import Data
from modelyard.training.distributing import Group, join, place_of
from modelyard.training.errors import ConfigurationError
from modelyard.training.improving import Publisher, published_before
from modelyard.training.keeping import Keeper, numbers
from modelyard.training.local import LocalRun, Settings, begin_local
from modelyard.training.looping import Looping
from modelyard.training.parameters import Parameters, read_parameters
from modelyard.training.preparing import Preparing
from modelyard.training.progress import ProgressFile
from modelyard.training.sources import Source
from modelyard.training.state import State, StateStore
from modelyard.training.versions import settle

if TYPE_CHECKING:
    import tensorflow as tf

    from modelyard.training.batches import Resumable

__all__ = ["Run", "run"]

#: Seconds between two looks for what the chief publishes.
_LOOK_SECONDS = 0.5
#: Seconds that publishing and downloading wait for a store.
_PATIENCE = 300.0
#: Saving waits less: when the pod is told to stop, it must be over before it is killed. The next save tries again.
_STATE_PATIENCE = 20.0

Value = TypeVar("Value", bool, int, float, str, list[Any], dict[str, Any])


def run(
    *, data: Mapping[str, str | os.PathLike[str]] | None = None, hyperparameters: Mapping[str, Any] | None = None
) -> Run:
    """Return the run of this process: the cluster's if it is one, else a local one with results under ./runs/.

    `data` (name to path or URI) and `hyperparameters` are for a laptop or notebook, where the command line says nothing
    else; in the cluster the manifest alone counts.
    """
    begun = Run.begin(os.environ, sys.argv, data=data, hyperparameters=hyperparameters)
    if begun.local is not None:
        begun.local.attach(begun.progress)
    return begun


class Run(Preparing, Looping):
    """What a training script is given, and where it hands in what it made."""

    def __init__(
        self,
        document: RunDocument,
        *,
        attempt: str,
        progress: Path | None,
        environment: Mapping[str, str],
        local: LocalRun | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._document = document
        self.clock = clock
        self._environment = environment
        self._place = place_of(environment)
        # before anything else that TensorFlow is asked to do
        self.group: Group | None = join(self._place) if self._place else None
        self.name = document.run
        self.attempt = attempt
        self.checkpointing = document.checkpointing
        self.seed = document.seed
        self.is_local = progress is None
        self.progress = ProgressFile(progress, document.run, attempt, clock)
        self.local = local
        output = open_store(document.output, environment)
        patience = float(environment.get(Environment.PATIENCE) or _PATIENCE)
        self._store = PatientStore(output, patience, self._wait_for)
        states = PatientStore(output, min(patience, _STATE_PATIENCE), self._wait_for)
        self._states = StateStore(states, document.run, document.checkpointing.keep)
        trains = document.step is None
        self.resumed: State | None = self._states.newest() if trains else None
        if not trains:
            self.progress.tell(phase=Phase.PREPARING)
        if self.resumed is not None:
            step = self.resumed.position.step
            self.progress.tell(resumed_step=step, saved_step=step)
        self.policy = document.publish
        self._tries: Counter[int] = Counter()
        self.keeper: Keeper | None = None
        """Knows where the training is, once it has begun."""
        if known := published_before(self._store, document.run):
            self.progress.tell(published=known)
        self._data: dict[str, Data] = {}
        self.current: Resumable | None = None
        """The batches that are trained on: a state is saved within their epochs too."""

    @classmethod
    def begin(
        cls,
        environment: Mapping[str, str],
        arguments: Sequence[str],
        *,
        data: Mapping[str, str | os.PathLike[str]] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> Run:
        """Begin the run that the environment describes, else a local one; raise ConfigurationError."""
        path = environment.get(Environment.RUN)
        if path:
            document = RunDocument.model_validate_json(Path(path).read_bytes())
            attempt = environment.get(Environment.ATTEMPT) or uuid.uuid4().hex
            progress = Path(environment[Environment.PROGRESS])
            begun = cls(document, attempt=attempt, progress=progress, environment=environment)
        else:
            known = Settings(data=dict(data or {}), hyperparameters=dict(hyperparameters or {}))
            local = begin_local(arguments, Path.cwd(), known)
            attempt = uuid.uuid4().hex[:12]
            begun = cls(local.document, attempt=attempt, progress=None, environment=environment, local=local)
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

    def hyperparameters_as(self, kind: type[Parameters]) -> Parameters:
        """Return all hyperparameters as a dataclass or pydantic model; raise ConfigurationError for what does not fit.

        Unknown ones, missing ones without a default and ones of another type are refused, each by its field.
        """
        return read_parameters(kind, self.hyperparameters)

    def data(self, name: str) -> Data:
        """Return the data source of that name; raise ConfigurationError if there is none."""
        if name not in self._data:
            uri = self._uri(name)
            source = Source(
                name,
                uri,
                environment=self._environment,
                progress=self.progress,
                settle=lambda source, versions: settle(self._store, self.name, source, versions),
            )
            self._data[name] = Data(source, self)
        return self._data[name]

    def path(self, name: str) -> Path:
        """Return a data source on this machine, downloaded if it is elsewhere: `data(name).path()`."""
        return self.data(name).path()

    def _uri(self, name: str) -> str:
        for source in self._document.data:
            if source.name == name:
                return source.uri
        known = ", ".join(source.name for source in self._document.data) or "none"
        fix = f"python train.py --data {name}=PATH" if self.is_local else "name it in the manifest"
        raise ConfigurationError(f"spec.data has no source {name!r}; there are: {known}; {fix}")

    def _wait_for(self, message: str) -> None:
        """Tell what a store is waited for; nothing when it is over."""
        if message:
            print(message, file=sys.stderr, flush=True)
        self.progress.tell(message=message[:1024])

    @property
    def initial_epoch(self) -> int:
        """Epochs that an earlier attempt finished: pass it to `fit`. Beyond all of them if it stopped early."""
        if self.resumed is None:
            return 0
        return sys.maxsize if self.resumed.position.ended else self.resumed.position.epoch

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

        strategy = self.group.strategy if self.group and self.group.in_step else None
        batches = Batches(arrays, batch_size=batch_size, seed=self.seed, shuffle=shuffle, strategy=strategy)
        return self.train_on(batches, shuffled=shuffle)

    def train_on(self, batches: Resumable, *, shuffled: bool) -> tf.data.Dataset:
        """Take note of batches; those that are not shuffled are for measuring, if there are others."""
        # they are shuffled already, and an epoch that is gone on with is shorter: Keras need not worry
        for message in ("`shuffle=True` was passed, but will be ignored", "Your input ran out of data"):
            warnings.filterwarnings("ignore", message=message)
        if shuffled or self.current is None:
            self.current = batches
        return batches.dataset

    @property
    def verbose(self) -> str | int:
        """What to pass to `fit`: a progress bar on a terminal (ours, else Keras' own), a line an epoch elsewhere."""
        if self.local is not None and self.local.shows_progress:
            return 0
        return "auto" if sys.stdout.isatty() else 2

    def callback(self, publisher: Publisher | None = None) -> Any:
        """Return the Keras callback that tells progress, saves state, and publishes what improves if that is asked."""
        return self.callbacks(publisher=publisher)[-1]

    def callbacks(self, *others: Any, publisher: Publisher | None = None) -> list[Any]:
        """Return what to pass to `fit` where there are callbacks beside the run's.

        What they come to know is part of the state: `EarlyStopping` goes on with its patience and best weights.
        """
        from modelyard.training.callbacks import RunCallback

        return [*others, RunCallback(self, self._states, others, publisher)]

    def publisher(self, **what: Any) -> Publisher:
        """Return what publishes a model as `spec.publish` says, in between and at the end; takes what `publish` does.

        That is everything but the model and its metrics; `evaluate` gives those.
        """
        inspect.signature(self.publish).bind(None, metrics={}, **what)
        return Publisher(self, what)

    @property
    def published(self) -> Sequence[Published]:
        """What this run has published, earlier attempts included; the newest last."""
        return self.progress.progress.published

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
        lookup: Declared | None = None,
    ) -> Published:
        """Publish a model as a package; whole or not at all.

        It is a Keras model, a `tf.Module`, a `tf.function`, the folder of a SavedModel, or a `.tflite` file.
        `holdout` holds raw feature columns that training did not see, `samples` raw requests to replay before serving.
        `evaluate` returns metrics by name of finished outputs on the holdout; variants of `spec.optimise` that change
        one by more than `maxLoss` are not offered. `lookup` names features whose answers are computed beforehand, or
        gives the values of each; the others keep their defaults. Of several workers the chief publishes and the others
        wait for it. Raises PublishError, FeatureError or StorageError.
        """
        if self._document.step is not None:
            raise ConfigurationError("a step of spec.prepare writes data: run.write(...); only a training publishes")
        if self._loop is not None:
            self._loop.leave_if_told()
        missing = [name for name in self._document.required_metrics if name not in metrics]
        if missing:
            given = ", ".join(metrics) or "none"
            raise ConfigurationError(
                f"spec.gate.metrics asks for {', '.join(missing)}; publish(metrics=...) gives {given}"
            )
        for data in self._data.values():
            data.verify()
        step = self._step()
        standing = next((package for package in self.published if package.step == step), None)
        if standing is not None:
            # a step is published once: its files are in use
            self.progress.tell(phase=Phase.DONE)
            return standing
        self.progress.tell(phase=Phase.PUBLISHING, step=step, metrics=numbers(metrics))
        if self.group is not None:
            model = self.group.plain(model)
        if not self.is_chief:
            return self._note(self._await_published(step))
        publication = Publication(
            name=self._document.training,
            run=self.name,
            step=step,
            attempt=self._prefix(step),
            features=features,
            labels=labels,
            metrics=numbers(metrics),
            holdout=holdout,
            samples=samples,
            optimise=self._document.optimise,
            evaluate=evaluate,
            lookup=lookup,
            signing_key=self._signing_key(),
        )
        published = self._note(publish(model, publication, self._store, lambda: datetime.now(UTC)))
        print(f"published {published.uri} {published.digest}", flush=True)
        if self.local is not None:
            self.local.published(published)
        return published

    def _step(self) -> int:
        if self.keeper is not None:
            return self.keeper.step
        return self.resumed.position.step if self.resumed else self.progress.progress.step

    def _note(self, published: Published) -> Published:
        self.progress.tell(phase=Phase.DONE, published=[*self.published, published][-MOST_PUBLISHED:])
        return published

    def _prefix(self, step: int) -> str:
        """Return an attempt's name that no earlier try of this step had: what it left behind is not written over."""
        self._tries[step] += 1
        return self.attempt if self._tries[step] == 1 else f"{self.attempt}-{self._tries[step]}"

    def _await_published(self, step: int) -> Published:
        """Return what the chief publishes of this step. If the chief is lost, so is this process, from outside."""
        marker = layout.published_marker(self.name, step)
        while True:
            try:
                return Published.model_validate_json(self._store.read(marker))
            except NotFound:
                time.sleep(_LOOK_SECONDS)

    def _signing_key(self) -> bytes | None:
        path = self._environment.get(Environment.SIGNING_KEY)
        if not path:
            return None
        try:
            return Path(path).read_bytes()
        except OSError as error:
            text = f"spec.signing: the Secret has no key {Path(path).name} that can be read: {error.strerror}"
            raise ConfigurationError(text) from error
