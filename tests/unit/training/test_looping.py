"""Loops of a script's own: saved, ended and gone on with as Keras' are."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.contract import layout
from modelyard.contract.wire import Environment, ExitCode, RunCurves, RunDocument
from modelyard.training.errors import ConfigurationError, DivergedError
from modelyard.training.running import Run

ROWS, BATCH, EPOCHS = 40, 16, 4
random = np.random.default_rng(0)
X = random.normal(size=(ROWS, 3)).astype("float32")
Y = (X.sum(axis=1, keepdims=True) > 0).astype("float32")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def begin(folder: Path, name: str = "own", clock: Clock | None = None, **document: Any) -> Run:
    settings = {"checkpointing": {"everySteps": 2}} | document
    told = RunDocument(training="t", namespace="n", run=name, output=str(folder), seed=7, **settings)
    progress = folder / "progress.json"
    return Run(told, attempt=os.urandom(4).hex(), progress=progress, environment={}, clock=clock or Clock())


def evict() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def train(run: Run, evicted_after: int | None = None) -> tuple[Any, ...]:
    """Train with a tape, a dropout, noise of a generator of TensorFlow's, one of NumPy's, and a dict of values."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3)])
    model.add(keras.layers.Dense(1))
    optimizer, noise, seen = keras.optimizers.Adam(0.01), tf.random.Generator.from_seed(3), {"best": 9.0, "steps": []}
    np.random.seed(3)
    run.track(model=model, optimizer=optimizer, noise=noise, seen=seen)

    @tf.function  # type: ignore[untyped-decorator]
    def train_step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(x + noise.normal(tf.shape(x), stddev=0.1), training=True)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    for here, (step, (x, y)) in enumerate(run.steps(run.batches(X, Y, batch_size=BATCH), epochs=EPOCHS), 1):
        loss = train_step(x, y) + float(np.random.random())
        seen["best"] = min(seen["best"], float(loss))
        seen["steps"].append(step)
        if here == evicted_after:
            evict()
        run.step(loss=loss)
        if run.epoch_ended:
            run.end_epoch(val_loss=train_step(X, Y) * 0.0 + seen["best"])
    return run.history, seen, *[weight.tolist() for weight in model.get_weights()]


def test_a_loop_of_ones_own_that_is_evicted_three_times_ends_as_an_undisturbed_one(tmp_path: Path):
    expected = train(begin(tmp_path, "whole"))
    assert len(expected[0]) == EPOCHS
    # in an epoch, at its end, in a later one
    for after, step in ((1, 1), (2, 3), (5, 8)):
        run = begin(tmp_path)
        with pytest.raises(SystemExit) as ended:
            train(run, after)
        assert ended.value.code == ExitCode.INTERRUPTED
        assert run.progress.progress.saved_step == step
    last = begin(tmp_path)
    assert train(last) == expected
    assert (last.steps_done, last.progress.progress.resumed_step) == (12, 8)


def test_a_loop_without_a_data_set_knows_where_it_is_and_when_to_stop(tmp_path: Path):
    import tensorflow as tf

    def count(run: Run, evicted_at: int | None = None) -> int:
        module, steps = tf.Module(), 0
        module.total = tf.Variable(0.0)
        run.track(module=module)
        run.plan(total=6)
        while not run.should_stop:
            module.total.assign_add(run.steps_done)
            if run.steps_done == evicted_at:
                evict()
            run.step(loss=1.0)
            steps += 1
        assert float(module.total) == sum(range(6))
        return steps

    with pytest.raises(SystemExit):
        count(begin(tmp_path), evicted_at=3)
    last = begin(tmp_path)
    assert count(last) == 2
    assert (last.progress.progress.step, last.progress.progress.total_steps) == (4, 6)


def test_told_to_stop_between_two_steps_nothing_is_published_and_the_next_attempt_goes_on(tmp_path: Path):
    def leave_by_itself(run: Run) -> None:
        values = {"n": 0}
        run.track(values=values, weights=variable())
        while not run.should_stop:
            values["n"] += 1
            run.step()
            if values["n"] == 3:
                evict()
        run.publish(None, features=None, labels=None, metrics={}, holdout={})  # type: ignore[arg-type]

    with pytest.raises(SystemExit):
        leave_by_itself(begin(tmp_path))
    again, values = begin(tmp_path), {"n": 0}
    again.track(values=values, weights=variable())
    assert (values, again.steps_done) == ({"n": 3}, 3)


def test_told_to_stop_at_the_end_of_an_epoch_what_is_published_there_is_and_the_next_attempt_begins_another(
    tmp_path: Path,
):
    def read(run: Run, evicted_at: int | None = None) -> None:
        run.track(weights=variable())
        for step, _ in run.steps([1, 2, 3], epochs=2):
            run.step()
            if run.epoch_ended:
                if step == evicted_at:
                    evict()
                with pytest.raises(ConfigurationError, match="asks for auc"):
                    run.publish(None, features=None, labels=None, metrics={}, holdout={})  # type: ignore[arg-type]
                run.end_epoch(val_loss=step)

    settings = {"required_metrics": ["auc"]}
    with pytest.raises(SystemExit):
        read(begin(tmp_path, **settings), evicted_at=3)
    last = begin(tmp_path, **settings)
    read(last)
    assert last.history == [{"val_loss": 3.0}, {"val_loss": 6.0}]


def variable() -> Any:
    import tensorflow as tf

    return tf.Variable([1.0])


@pytest.mark.parametrize("has_length", [True, False])
def test_any_data_that_repeats_itself_is_gone_on_with_where_it_was(tmp_path: Path, has_length: bool):
    class Lines:
        """Like a list, or like a reader of a file whose length nobody knows."""

        def __iter__(self) -> Iterator[str]:
            return iter("abcde")

    data = list("abcde") if has_length else Lines()

    def read(run: Run, evicted_at: int | None = None) -> list[Any]:
        run.track(weights=variable())
        for step, letter in run.steps(data, epochs=2):
            seen.append((step, letter))
            if step == evicted_at:
                evict()
            run.step()
        return run.history

    seen: list[Any] = []
    for after in (2, 5, 8):
        with pytest.raises(SystemExit):
            read(begin(tmp_path), after)
    assert len(read(begin(tmp_path))) == 2
    assert seen == list(enumerate("abcdeabcde", 1))


def test_mistakes_of_a_loop_are_told_by_the_call(tmp_path: Path):
    run = begin(tmp_path)
    with pytest.raises(ConfigurationError, match=r"run.track\(path=...\) is a PosixPath: expected a model"):
        run.track(path=tmp_path)
    run.track(weights=variable())
    with pytest.raises(ConfigurationError, match="called once"):
        run.track(weights=variable())
    with pytest.raises(ConfigurationError, match="once for each batch"):
        list(run.steps([1, 2]))
    once = run.steps(iter([1]), epochs=2)
    next(once)
    run.step()
    with pytest.raises(ConfigurationError, match="read only once"):
        next(once)
    with pytest.raises(DivergedError, match="the loss is inf at step 2"):
        run.step(loss=float("inf"))


def test_curves_that_cannot_be_stored_are_told_and_the_training_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    curves = tmp_path / layout.curves_file("own")
    curves.mkdir(parents=True)
    document = RunDocument(training="t", namespace="n", run="own", output=str(tmp_path))
    run = Run(document, attempt="a", progress=tmp_path / "progress.json", environment={Environment.PATIENCE: "0"})
    for _, loss in run.steps([3.0, 2.0], epochs=2):
        run.step(loss=loss)
    assert run.steps_done == 4
    assert f"the curves of step 4 are not kept: {curves}" in capfd.readouterr().err
    served = RunCurves.model_validate_json((tmp_path / "curves.json").read_bytes())
    assert served.metrics["loss"].values == [3.0, 2.0, 3.0, 2.0]


def test_a_state_of_other_things_is_refused(tmp_path: Path):
    first = begin(tmp_path)
    first.track(weights=variable())
    first.step()
    first.step()
    [*_] = first.steps([], total=0)
    with pytest.raises(ValueError, match="the tracked weights, more had 1 variables"):
        begin(tmp_path).track(weights=variable(), more=variable())
