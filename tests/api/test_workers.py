"""Processes on this machine that train one model: two workers do the maths of one; a coordinator and its servers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.contract.wire import ExitCode
from modelyard.model.storage import open_store
from tests.support.kubectl import ROOT
from tests.support.server import free_ports

SCRIPT = """
import json, os, signal, sys
import numpy as np
import modelyard
from tests.support.packages import FEATURES, LABELS, SAMPLES

run = modelyard.run()
import keras

ROWS = 69      # the last batch of 16 has 5 rows: it cannot be divided by two
rng = np.random.default_rng(0)
price = rng.normal(size=ROWS).astype("float32")
inputs = {"price": price, "country": rng.integers(0, 3, ROWS).astype("int32")}
targets = {"click": (price > 0)[:, None].astype("float32"), "tags": rng.integers(0, 2, (ROWS, 3)).astype("float32")}

def build(noise):
    keras.utils.set_random_seed(7)
    x = {"price": keras.Input((), name="price"), "country": keras.Input((), name="country", dtype="int32")}
    embedded = keras.layers.Embedding(3, 2)(x["country"])
    hidden = keras.layers.Concatenate()([keras.layers.Reshape((1,))(x["price"]), embedded])
    hidden = keras.layers.Dense(8, activation="relu")(hidden)
    hidden = keras.layers.BatchNormalization(synchronized=True)(hidden)
    if noise:
        hidden = keras.layers.Dropout(0.3)(hidden)
    sizes = {"click": 1, "tags": 3}
    y = {name: keras.layers.Dense(n, activation="sigmoid", name=name)(hidden) for name, n in sizes.items()}
    model = keras.Model(x, y)
    model.compile("adam", "binary_crossentropy", metrics={"click": "accuracy"})
    return model

class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        Stop.steps = getattr(Stop, "steps", 0) + 1
        if Stop.steps == run.hyperparameter("stop_at", 0) and not run.is_chief and run.resumed is None:
            os.kill(os.getpid(), signal.SIGTERM)
        if Stop.steps == run.hyperparameter("die_at", 0) and not run.is_chief and run.resumed is None:
            os.kill(os.getpid(), signal.SIGKILL)

result = {}
if run.hyperparameter("plain", False):
    with run.strategy.scope():
        model = build(False)
    fitted = model.fit(run.batches(inputs, targets, batch_size=16), epochs=3, verbose=0)
    result["plain"] = {"loss": fitted.history["loss"], "weights": [w.tolist() for w in model.get_weights()]}
with run.strategy.scope():
    model = build(True)
callback = run.callback()
model.fit(run.batches(inputs, targets, batch_size=16), epochs=4, verbose=0, initial_epoch=run.initial_epoch,
          validation_data=(inputs, targets), callbacks=[Stop(), callback])
result["history"], result["weights"] = callback.history, [w.tolist() for w in model.get_weights()]
holdout = {"price": np.linspace(0, 100, 20), "country": ["nl"] * 20}
published = run.publish(model, features=FEATURES, labels=LABELS, metrics={"auc": 0.9}, holdout=holdout, samples=SAMPLES)
result["published"] = published.document()
open(os.environ["RESULT"], "w").write(json.dumps(result))
"""

COORDINATED = """
import json, os
import keras
import numpy as np
import modelyard
from tests.support.packages import FEATURES, LABELS, SAMPLES, keras_model

run = modelyard.run()      # workers and parameter servers stay in here
import tensorflow as tf

price = np.linspace(-2, 2, 64).astype("float32")
click = (price > 0)[:, None].astype("float32")
coordinator = tf.distribute.coordinator.ClusterCoordinator(run.strategy)
with run.strategy.scope():
    model, optimizer = keras_model(), keras.optimizers.SGD(0.5)
    optimizer.build(model.trainable_variables)

def rows(context=None):
    return tf.data.Dataset.from_tensor_slices((price, click)).shuffle(64, seed=1).repeat().batch(16)

batches = iter(coordinator.create_per_worker_dataset(lambda: run.strategy.distribute_datasets_from_function(rows)))

@tf.function
def step(batches):
    def work(batch):
        x, y = batch
        with tf.GradientTape() as tape:
            outputs = model({"price": x, "country": tf.ones_like(x, tf.int32)}, training=True)
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(y, outputs["click"]))
        pairs = zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        used = [(gradient, variable) for gradient, variable in pairs if gradient is not None]
        optimizer.apply([gradient for gradient, _ in used], [variable for _, variable in used])
        return loss
    return run.strategy.run(work, args=(next(batches),))

losses = [coordinator.schedule(step, args=(batches,)) for _ in range(60)]
coordinator.join()
first, last = (float(losses[place].fetch()) for place in (0, -1))
holdout = {"price": np.linspace(0, 100, 20), "country": ["nl"] * 20}
published = run.publish(model, features=FEATURES, labels=LABELS, metrics={"loss": last}, holdout=holdout,
                        samples=SAMPLES)
open(os.environ["RESULT"], "w").write(json.dumps({"first": first, "last": last, "token": published.token}))
"""


class Workers:
    """Attempts of as many processes at one run."""

    def __init__(self, folder: Path, script: str = SCRIPT, **hyperparameters: Any) -> None:
        self._folder = folder
        document = {"training": "clicks", "namespace": "team", "run": "clicks-1", "seed": 7}
        document |= {"output": str(folder / "output"), "hyperparameters": hyperparameters}
        document |= {"checkpointing": {"everySteps": 3}}
        (folder / "run.json").write_text(json.dumps(document))
        (folder / "train.py").write_text(script)
        self._attempts = 0

    def run(self, count: int) -> list[int]:
        """Run them to their ends; return their exit codes."""
        self._attempts += 1
        cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
        processes = [self.start("worker", index, cluster if count > 1 else {}) for index in range(count)]
        outputs = [process.communicate(timeout=120)[0].decode() for process in processes]
        self.output = "\n".join(outputs)
        return [process.returncode for process in processes]

    def result(self, index: int) -> dict[str, Any]:
        return json.loads((self._folder / f"result-{index}.json").read_text())

    @property
    def markers(self) -> list[str]:
        return open_store(str(self._folder / "output")).list("runs/clicks-1/published")

    def start(self, kind: str, index: int, cluster: Mapping[str, list[str]]) -> subprocess.Popen[bytes]:
        told = {"cluster": cluster, "task": {"type": kind, "index": index}}
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MODELYARD_RUN": str(self._folder / "run.json"),
            "MODELYARD_ATTEMPT": f"pod-{index}-{self._attempts}",
            "MODELYARD_PROGRESS": str(self._folder / f"progress-{index}.json"),
            "RESULT": str(self._folder / f"result-{index}.json"),
            "TF_CONFIG": json.dumps(told),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "TF_ENABLE_ONEDNN_OPTS": "0",
        }
        command = [sys.executable, str(self._folder / "train.py")]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workers:
    workers = Workers(tmp_path_factory.mktemp("two"), plain=True)
    assert workers.run(2) == [0, 0], workers.output
    return workers


def test_two_workers_do_the_maths_of_one(undisturbed: Workers, tmp_path: Path):
    alone = Workers(tmp_path, plain=True)
    assert alone.run(1) == [0], alone.output
    one, two = alone.result(0)["plain"], undisturbed.result(0)["plain"]
    for mine, theirs in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)
    # in the figure that is shown the parts of the last batch weigh by their sizes
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=2e-2)


def test_the_chief_publishes_and_the_others_know_it(undisturbed: Workers):
    chief, worker = undisturbed.result(0), undisturbed.result(1)
    assert undisturbed.markers == ["runs/clicks-1/published/20.json"]
    assert chief["published"] == worker["published"]
    assert chief["published"]["token"] == "pod-0-1"
    assert chief["weights"] == worker["weights"]
    assert chief["history"] == worker["history"]


def test_one_that_is_told_to_stop_stops_both_at_the_same_step_and_nothing_is_lost(undisturbed: Workers, tmp_path: Path):
    workers = Workers(tmp_path, stop_at=7)
    assert workers.run(2) == [ExitCode.INTERRUPTED] * 2, workers.output
    told = json.loads((tmp_path / "progress-0.json").read_text())
    assert told["savedStep"] >= 7
    assert workers.run(2) == [0, 0], workers.output
    assert workers.result(0)["history"] == undisturbed.result(0)["history"]
    assert workers.result(1)["weights"] == undisturbed.result(0)["weights"]


def test_a_worker_that_is_killed_ends_the_other_which_resumes_with_it(undisturbed: Workers, tmp_path: Path):
    workers = Workers(tmp_path, die_at=8)
    chief, worker = workers.run(2)
    assert worker == -signal.SIGKILL
    assert chief not in (0, ExitCode.CONFIGURATION), workers.output
    assert "UnavailableError" in workers.output
    told = json.loads((tmp_path / "progress-0.json").read_text())
    assert 8 - 2 * 3 <= told["savedStep"] <= 8
    assert workers.run(2) == [0, 0], workers.output
    assert workers.result(0)["history"] == undisturbed.result(0)["history"]


def test_a_coordinator_trains_through_its_servers_and_publishes(tmp_path: Path):
    workers = Workers(tmp_path, COORDINATED)
    ports = iter(free_ports(4))
    counts = {"chief": 1, "worker": 2, "ps": 1}
    cluster = {kind: [f"127.0.0.1:{next(ports)}" for _ in range(count)] for kind, count in counts.items()}
    servers = [workers.start(kind, n, cluster) for kind in ("worker", "ps") for n in range(counts[kind])]
    chief = workers.start("chief", 0, cluster)
    output = chief.communicate(timeout=120)[0].decode()
    assert chief.returncode == 0, output
    result = workers.result(0)
    assert result["last"] < result["first"] / 2
    assert result["token"] == "pod-0-0"
    assert workers.markers == ["runs/clicks-1/published/0.json"]
    assert [server.poll() for server in servers] == [None, None, None]
    for server in servers:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)
    assert [server.returncode for server in servers] == [-signal.SIGTERM] * 3
