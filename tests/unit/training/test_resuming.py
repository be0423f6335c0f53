"""A run that is killed again and again ends with the very numbers of one that is not."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.contract import layout
from modelyard.contract.wire import Curve, RunCurves, RunDocument
from modelyard.training.batches import Batches
from modelyard.training.errors import DivergedError
from modelyard.training.running import Run

ROWS, BATCH, EPOCHS = 70, 16, 4
random = np.random.default_rng(0)
X = random.normal(size=(ROWS, 3)).astype("float32")
Y = (X.sum(axis=1, keepdims=True) > 0).astype("float32")


def begin(folder: Path, name: str) -> Run:
    document = RunDocument(
        training="t", namespace="n", run=name, output=str(folder), seed=7, checkpointing={"everySteps": 3}
    )
    return Run(document, attempt=os.urandom(4).hex(), progress=folder / "progress.json", environment={})


def build() -> Any:
    import keras

    keras.utils.set_random_seed(7)
    x = keras.Input((3,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8, activation="relu")(x))
    y = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dropout(0.3)(hidden))
    model = keras.Model(x, y)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def train(run: Run, *others: Any) -> tuple[list[dict[str, float]], list[Any]]:
    import keras

    model, callback = build(), run.callback()

    class Wiggle(keras.callbacks.Callback):  # type: ignore[misc]
        """Uses the global generator, as a script may."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            drawn.append(float(np.random.random()))

    drawn: list[float] = []
    np.random.seed(3)
    data = run.batches(X, Y, batch_size=BATCH)
    model.fit(
        data,
        validation_data=(X, Y),
        epochs=EPOCHS,
        initial_epoch=run.initial_epoch,
        callbacks=[Wiggle(), callback, *others],
        verbose=0,
    )
    return callback.history, [*model.get_weights(), np.array(drawn[-1:])]


@pytest.fixture(scope="module")
def undisturbed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="module")
def undisturbed(undisturbed_folder: Path) -> tuple[list[dict[str, float]], list[Any]]:
    return train(begin(undisturbed_folder, "whole"))


def curves(folder: Path, name: str) -> dict[str, Curve]:
    return RunCurves.model_validate_json((folder / layout.curves_file(name)).read_bytes()).metrics


def killer(*, after: int) -> Any:
    import keras

    class Killer(keras.callbacks.Callback):  # type: ignore[misc]
        """Sends SIGTERM after a step, as an eviction does at any moment: the one under way is finished."""

        steps = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            if self.steps == after:
                os.kill(os.getpid(), signal.SIGTERM)

    return Killer()


def test_a_run_evicted_three_times_ends_with_the_metrics_and_weights_of_an_undisturbed_one(
    tmp_path: Path, undisturbed: Any, undisturbed_folder: Path
):
    expected, weights = undisturbed
    for after in (1, 5, 4):
        with pytest.raises(SystemExit):
            train(begin(tmp_path, "killed"), killer(after=after))
    last = begin(tmp_path, "killed")
    assert last.resumed is not None
    assert (last.resumed.position.step, last.resumed.position.epoch, last.resumed.position.batch) == (13, 2, 3)
    history, resumed = train(last)
    assert curves(tmp_path, "killed") == curves(undisturbed_folder, "whole")
    assert len(history) == EPOCHS
    assert history == expected
    for one, other in zip(resumed, weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_losses_of_several_outputs_are_resumed_within_an_epoch(tmp_path: Path):
    import keras

    def train_two(run: Run, *others: Any) -> list[dict[str, float]]:
        keras.utils.set_random_seed(7)
        x = keras.Input((3,))
        outputs = {name: keras.layers.Dense(1, activation="sigmoid", name=name)(x) for name in ("one", "other")}
        model, callback = keras.Model(x, outputs), run.callback()
        model.compile("sgd", "binary_crossentropy")
        data = run.batches(X, {"one": Y, "other": 1 - Y}, batch_size=BATCH)
        model.fit(data, epochs=2, initial_epoch=run.initial_epoch, callbacks=[callback, *others], verbose=0)
        return callback.history

    expected = train_two(begin(tmp_path, "two"))
    with pytest.raises(SystemExit):
        train_two(begin(tmp_path, "stopped"), killer(after=2))
    assert train_two(begin(tmp_path, "stopped")) == expected


def test_curves_have_a_point_a_step_and_one_an_epoch_for_what_is_validated(undisturbed: Any, undisturbed_folder: Path):
    history, _ = undisturbed
    kept, steps = curves(undisturbed_folder, "whole"), -(-ROWS // BATCH)
    assert kept["loss"].steps == list(range(1, EPOCHS * steps + 1))
    assert kept["val_loss"].steps == [steps * epoch for epoch in range(1, EPOCHS + 1)]
    assert kept["val_loss"].values == [metrics["val_loss"] for metrics in history]


def test_a_run_that_dies_without_a_word_loses_at_most_one_interval(tmp_path: Path, undisturbed: Any):
    import keras

    class Crash(keras.callbacks.Callback):  # type: ignore[misc]
        """Ends the step loop as a crash does: nothing is saved any more."""

        steps = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            if self.steps == 11:
                raise MemoryError

    with pytest.raises(MemoryError):
        train(begin(tmp_path, "crashed"), Crash())
    expected, weights = undisturbed
    last = begin(tmp_path, "crashed")
    assert last.resumed is not None
    assert last.resumed.position.step >= 11 - 2 * 3
    history, resumed = train(last)
    assert history == expected
    np.testing.assert_array_equal(resumed[0], weights[0])


def test_a_loss_that_is_no_number_ends_the_run_with_the_step(tmp_path: Path):
    model, run = build(), begin(tmp_path, "nan")
    data = run.batches(X, np.where(np.arange(ROWS)[:, None] == 40, np.nan, Y), batch_size=BATCH, shuffle=False)
    with pytest.raises(DivergedError, match=r"the loss is nan at step 3 \(epoch 1\)"):
        model.fit(data, callbacks=[run.callback()], verbose=0)


def test_a_store_that_fails_is_told_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from modelyard.model.storage import Unreachable
    from modelyard.training.state import StateStore

    def fail(*_: Any) -> None:
        raise Unreachable("the store is down")

    monkeypatch.setattr(StateStore, "save", fail)
    run = begin(tmp_path, "down")
    history, _ = train(run)
    assert len(history) == EPOCHS
    assert "is not saved: the store is down" in capsys.readouterr().err
    assert run.progress.progress.saved_step is None


def test_the_order_of_rows_follows_from_seed_and_epoch_and_may_begin_anywhere():
    batches = Batches((np.arange(10), np.arange(10) * 2.0), batch_size=4, seed=1)
    assert batches.steps == 3

    def rows() -> list[int]:
        found = [(x.numpy().tolist(), y.numpy().tolist()) for x, y in batches.dataset]
        assert all(y == [2.0 * value for value in x] for x, y in found)
        return [value for x, _ in found for value in x]

    first = rows()
    assert sorted(first) == list(range(10))
    batches.begin_epoch(1)
    assert sorted(rows()) == list(range(10))
    assert rows() != first
    batches.begin_epoch(0, first=2)
    assert rows() == first[8:]
    with pytest.raises(ValueError, match="3, 4 rows"):
        Batches((np.zeros(3), np.zeros(4)), batch_size=2, seed=0)
