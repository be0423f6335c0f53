"""What is published in between: whenever the watched metric is better than ever, whichever attempt it was."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelyard
from modelyard.contract.training import Publish
from modelyard.contract.wire import Phase, Published, RunDocument
from modelyard.model.storage import Unreachable, open_store
from modelyard.training.errors import ConfigurationError
from modelyard.training.improving import Publisher
from modelyard.training.progress import ProgressFile
from modelyard.training.running import Run
from tests.support.packages import FEATURES, LABELS, SAMPLES, keras_model

LOSS = Publish(when="Improved", metric="val_loss", mode="Min", min_delta=0.1)
HOLDOUT = {"price": np.linspace(0, 100, 20), "country": ["nl"] * 20}


class Host:
    """A run that publishes nothing but its metrics."""

    def __init__(self, policy: Publish) -> None:
        self.policy, self.progress = policy, ProgressFile(None, "r", "a")
        self.fails, self.group = False, None

    @property
    def published(self) -> list[Published]:
        return self.progress.progress.published

    def publish(self, model: Any, *, metrics: dict[str, float]) -> Published:
        if self.fails:
            raise Unreachable("the store is down")
        step = len(self.published) + 1
        package = Published(step=step, uri=f"/{step}", digest=f"sha256:{step:064}", metrics=metrics)
        self.progress.tell(published=[*self.published, package], phase=Phase.DONE)
        return package


def test_only_what_is_better_by_enough_is_published_and_the_best_is_what_the_run_ends_with():
    host = Host(LOSS)
    publisher = Publisher(host, {})
    seen = [publisher.improved(None, {"val_loss": loss}) for loss in (2.0, 1.95, 1.5, float("nan"), 3.0, 1.0)]
    assert [package.step if package else None for package in seen] == [1, None, 2, None, None, 3]
    assert host.progress.progress.phase == Phase.TRAINING
    # another attempt knows the best by what is published
    again = Publisher(host, {})
    assert again.improved(None, {"val_loss": 1.2}) is None
    assert again.publish(None, {"auc": 0.9}) == seen[-1]
    assert host.progress.progress.phase == Phase.DONE
    assert again.publish(None, {"val_loss": 0.5}).step == 4


def test_larger_is_better_if_that_is_said_and_without_the_policy_only_the_end_is_published():
    largest = Publisher(Host(Publish(when="Improved", metric="auc", mode="Max")), {})
    seen = [largest.improved(None, {"auc": auc}) for auc in (0.7, 0.6, 0.8)]
    assert [package is not None for package in seen] == [True, False, True]
    host = Host(Publish())
    at_end = Publisher(host, {})
    assert at_end.improved(None, {"loss": 1.0}) is None
    assert [at_end.publish(None, {"auc": 0.5}).step, at_end.publish(None, {"auc": 0.4}).step] == [1, 2]


def test_what_could_not_be_published_in_between_is_made_up_for_at_the_end(capsys: pytest.CaptureFixture[str]):
    host = Host(LOSS)
    publisher = Publisher(host, {})
    host.fails = True
    with pytest.raises(Unreachable):
        publisher.improved(None, {"val_loss": 2.0})
    host.fails = False
    publisher.improved(None, {"val_loss": 2.0})
    host.fails = True
    assert publisher.improved(None, {"val_loss": 1.0}) is None
    assert "not published: the store is down" in capsys.readouterr().err
    host.fails = False
    assert publisher.publish(None, {"auc": 0.9}).step == 2


def test_a_watched_metric_that_no_epoch_has_is_refused_by_its_field():
    with pytest.raises(ConfigurationError, match=r"spec\.publish\.metric is val_loss, .* there are: loss"):
        Publisher(Host(LOSS), {}).improved(None, {"loss": 1.0})


def begin(folder: Path, **document: Any) -> Run:
    told = RunDocument(training="clicks", namespace="n", run="clicks-1", output=str(folder), **document)
    return Run(told, attempt=os.urandom(4).hex(), progress=folder / "progress.json", environment={})


def fit(run: Run, *, dies: bool = False) -> tuple[Published, Any]:
    """Train for three epochs; the model gets better in each. Perhaps die while the second one is published."""

    def evaluate(outputs: Any) -> dict[str, float]:
        if dies and len(run.published) == 1:
            raise KeyboardInterrupt
        return {"auc": float(outputs["click"].mean())}

    model = keras_model()
    publisher = run.publisher(features=FEATURES, labels=LABELS, holdout=HOLDOUT, samples=SAMPLES, evaluate=evaluate)
    price = np.linspace(-2, 2, 64).astype("float32")
    inputs = {"price": price, "country": np.ones(64, "int32")}
    targets = {"click": (price > 0)[:, None].astype("float32"), "tags": np.ones((64, 3), "float32")}
    model.fit(
        run.batches(inputs, targets, batch_size=16),
        epochs=3,
        initial_epoch=run.initial_epoch,
        callbacks=[run.callback(publisher)],
        verbose=0,
    )
    return publisher.publish(model), model


def test_publishing_in_between_changes_nothing_of_the_training_and_survives_a_crash(tmp_path: Path):
    policy = {"when": "Improved", "metric": "loss", "mode": "Min"}
    with pytest.raises(KeyboardInterrupt):
        fit(begin(tmp_path, publish=policy), dies=True)
    run = begin(tmp_path, publish=policy)
    assert [package.step for package in run.published] == [4]
    best, model = fit(run)
    assert [package.step for package in run.published] == [4, 8, 12]
    assert best == run.published[-1]
    assert {"loss", "auc"} <= best.metrics.keys()
    # each is whole, and what training went on to do has not touched it
    for package in run.published:
        assert modelyard.open(package.uri, digest=package.digest).manifest.step == package.step
    end = tmp_path / "end"
    end.mkdir()
    _, plain = fit(begin(end))
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert open_store(str(end)).list("runs/clicks-1/published") == ["runs/clicks-1/published/12.json"]
