"""What other callbacks remember is part of a run's state."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.contract.wire import RunDocument
from modelyard.training.remembering import memory_of, pack, remind, unpack
from modelyard.training.running import Run

X = np.random.default_rng(0).normal(size=(30, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(30, 1)).astype("float32")


def test_plain_values_of_any_nesting_come_back_as_they_were():
    arrays: list[Any] = []
    values = {"best": np.float32(0.5), "weights": [np.ones(2), {"inner": np.zeros(1)}], "mode": "min", "none": None}
    document = pack(values, arrays)
    assert (document["best"], len(arrays)) == (0.5, 2)
    back = unpack(document, arrays)
    np.testing.assert_array_equal(back["weights"][1]["inner"], np.zeros(1))
    with pytest.raises(TypeError, match="a set cannot be kept"):
        pack({"x": set()}, [])


def test_only_what_is_plain_and_public_is_remembered_and_only_by_its_own_kind():
    class Patient:
        def __init__(self, patience: int = 3) -> None:
            self.wait, self.monitor, self._hidden, self.params = 2, len, 1, {"epochs": 3}
            self.patience = patience

    class Other(Patient):
        pass

    memory = memory_of([Patient()])
    assert memory == {"0.Patient": {"wait": 2}}
    patient, other = Patient(), Other()
    patient.wait = other.wait = 0
    remind([patient], memory)
    remind([other], memory)
    assert (patient.wait, other.wait) == (2, 0)


def train(folder: Path, evicted_after: int | None = None) -> tuple[Any, ...]:
    """Train until it gets worse; early stopping and the learning rate depend on what they have seen."""
    import keras

    told = RunDocument(training="t", namespace="n", run="r", output=str(folder), checkpointing={"everySteps": 1})
    run = Run(told, attempt=os.urandom(4).hex(), progress=folder / "progress.json", environment={})
    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=True)

    class Evict(keras.callbacks.Callback):  # type: ignore[misc]
        _steps = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._steps += 1
            if self._steps == evicted_after:
                os.kill(os.getpid(), signal.SIGTERM)

    early = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    slower = keras.callbacks.ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=0.05, cooldown=1)
    callbacks = run.callbacks(Evict(), early, slower)
    model.fit(
        run.batches(X[:20], Y[:20], batch_size=8),
        validation_data=(X[20:], Y[20:]),
        epochs=30,
        initial_epoch=run.initial_epoch,
        callbacks=callbacks,
        verbose=0,
    )
    history = callbacks[-1].history
    return history, early.best_epoch, *[weight.tolist() for weight in model.get_weights()]


# Keras' own ReduceLROnPlateau, with NumPy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_early_stopping_and_a_falling_learning_rate_survive_evictions_exactly(tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    expected = train(whole)
    epochs = len(expected[0])
    assert 5 < epochs < 30
    assert len({metrics["learning_rate"] for metrics in expected[0]}) > 2
    # in an epoch, and in the very last step: then it has stopped, and is not trained on
    for after in (4, 3 * epochs - 4):
        with pytest.raises(SystemExit):
            train(broken, after)
    assert train(broken) == expected
