"""A run on a laptop: its arguments, its folder, going on with it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import modelyard
from modelyard.training.errors import ConfigurationError
from modelyard.training.local import begin_local
from modelyard.training.running import Run
from tests.support.kubectl import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begin(*arguments: str) -> Run:
    return Run.begin({}, ["train.py", *arguments])


def test_hyperparameters_data_and_seed_come_from_the_command_line(folder: Path):
    (folder / "rows.csv").write_text("a")
    run = begin(
        "--set", "epochs=3", "--set", "name=wide", "--data", "rows=rows.csv", "--data", "more=s3://b/x", "--seed=5"
    )
    assert run.is_local
    assert run.hyperparameter("epochs", 1) == 3
    assert run.hyperparameter("name", "deep") == "wide"
    assert run.hyperparameter("rate", 0.1) == 0.1
    assert run.seed == 5
    assert str(run.data("more")) == "s3://b/x"
    assert run.data("rows").path() == folder / "rows.csv"
    assert Path(run.data("rows")).read_text() == "a"
    with pytest.raises(ConfigurationError, match=r"no source 'lines'; there are: rows, more; .* --data lines=PATH"):
        run.data("lines")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["epochs=3"], "unrecognized arguments: epochs=3"),
        (["--set", "epochs"], "'epochs' is not NAME=VALUE"),
        (["--seed", "many"], "invalid int value"),
        (["--help"], "--resume [RUN]"),
    ],
)
def test_wrong_arguments_end_with_the_right_ones(
    arguments: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        begin(*arguments)
    assert words in "".join(capsys.readouterr())


def test_each_run_has_a_folder_and_the_last_is_pointed_to(folder: Path):
    names = [begin().name for _ in range(3)]
    assert len(set(names)) == 3
    assert (folder / "runs" / "latest").resolve().name == names[-1]
    assert json.loads((folder / "runs" / names[0] / "run.json").read_text())["training"] == "train"


def test_an_unfinished_run_is_gone_on_with_as_it_was_told(folder: Path):
    first = begin("--set", "epochs=7", "--seed=2")
    other = begin()
    assert begin("--resume", first.name).hyperparameters == {"epochs": 7}
    assert (folder / "runs" / "latest").resolve().name == first.name
    (folder / "runs" / other.name / "published").mkdir()
    assert (begin("--resume").name, begin("--resume").seed) == (first.name, 2)
    with pytest.raises(SystemExit, match="leave --set"):
        begin("--resume", "--set", "epochs=8")
    with pytest.raises(SystemExit, match="no unfinished run missing"):
        begin("--resume", "missing")
    with pytest.raises(SystemExit, match="no unfinished run train below"):
        begin_local(["train.py", "--resume"], folder / "elsewhere")


SCRIPT = """
import os, signal
import keras
import numpy as np
import modelyard
from tests.support.packages import FEATURES, LABELS, SAMPLES, keras_model
run = modelyard.run()
model = keras_model()
inputs = {"price": np.zeros(32, "float32"), "country": np.ones(32, "int32")}
targets = {"click": np.ones((32, 1), "float32"), "tags": np.ones((32, 3), "float32")}
class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if run.initial_epoch == 0 and batch == 2:
            os.kill(os.getpid(), signal.SIGINT)
model.fit(run.batches(inputs, targets, batch_size=8), epochs=2, initial_epoch=run.initial_epoch,
          callbacks=[run.callback(), Interrupt()], verbose=run.verbose)
run.publish(model, features=FEATURES, labels=LABELS, metrics={"auc": 0.5}, samples=SAMPLES,
            holdout={"price": [1.0] * 8, "country": ["nl"] * 8})
"""


def test_ctrl_c_saves_the_state_and_says_how_to_go_on_and_the_end_says_how_to_open_the_package(folder: Path):
    (folder / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "train.py", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90)

    stopped = run("--seed", "1")
    name = (folder / "runs" / "latest").resolve().name
    assert f"the state of step 4 is saved; go on with: python train.py --resume {name}" in stopped.stderr
    finished = run("--resume")
    assert finished.returncode == 0, finished.stderr
    assert f"modelyard.open('runs/{name}/package')" in finished.stdout
    assert modelyard.open("runs/latest/package").predict({"price": 1.0})
