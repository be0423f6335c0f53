"""A run on a laptop: its arguments, its folder, going on with it."""

import io
import json
import re
import runpy
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

import modelyard
from modelyard.contract.wire import ExitCode, Phase, Progress
from modelyard.training import local
from modelyard.training.bar import bar
from modelyard.training.errors import ConfigurationError
from modelyard.training.local import begin_local
from modelyard.training.running import Run


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


def test_help_names_what_the_script_reads_and_what_it_never_reads_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "train.py").write_text(
        "import modelyard\nrun = modelyard.run()\nrun.hyperparameter('epochs', 30)\nrun.data('rows')\n"
    )
    with pytest.raises(SystemExit):
        begin("--help")
    assert "hyperparameters:\n  epochs (30)\ndata:\n  rows\n" in capsys.readouterr().out
    begin("--set", "epoch=3")
    assert capsys.readouterr().err == "--set epoch: train.py never reads it; it reads epochs\n"


def test_what_the_script_says_itself_is_overruled_by_the_command_line(folder: Path):
    known = {"data": {"rows": Path("a.csv"), "more": "s3://b/more"}, "hyperparameters": {"epochs": 3, "rate": 0.5}}
    run = Run.begin({}, ["train.py", "--set", "epochs=4", "--data", "rows=b.csv"], **known)
    assert run.hyperparameters == {"epochs": 4, "rate": 0.5}
    assert [run.data(name).uri for name in ("rows", "more")] == [str(folder / "b.csv"), "s3://b/more"]


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
        if run.initial_epoch == 0 and run.resumed is None and batch == 2:
            os.kill(os.getpid(), signal.SIGINT)
model.fit(run.batches(inputs, targets, batch_size=8), epochs=2, initial_epoch=run.initial_epoch,
          callbacks=[Interrupt(), run.callback()], verbose=run.verbose)
run.publish(model, features=FEATURES, labels=LABELS, metrics={"auc": 0.5}, samples=SAMPLES,
            holdout={"price": [1.0] * 8, "country": ["nl"] * 8})
"""


@pytest.fixture
def at_exit(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], None]]]:
    """What the process would do at its end; its signals are as before afterwards."""
    registered: list[Callable[[], None]] = []
    monkeypatch.setattr(local, "atexit", SimpleNamespace(register=registered.append))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield registered
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_saves_the_state_and_says_how_to_go_on_and_the_end_says_how_to_open_the_package(
    folder: Path,
    at_exit: list[Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (folder / "train.py").write_text(SCRIPT)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        try:
            runpy.run_path("train.py", run_name="__main__")
        finally:
            at_exit.pop()()
        return capsys.readouterr().out

    with pytest.raises(SystemExit) as ended:
        run("--seed", "1")
    assert ended.value.code == ExitCode.INTERRUPTED
    name = (folder / "runs" / "latest").resolve().name
    told = capsys.readouterr().err
    assert "saving the state after this step; Ctrl-C again ends at once" in told
    assert f"the state of step 3 is saved; go on with: python train.py --resume {name}" in told
    finished = run("--resume")
    assert f"modelyard.open('runs/{name}/package')" in finished
    assert "metrics  auc 0.5" in finished
    assert modelyard.open("runs/latest/package").predict({"price": 1.0})


def test_a_terminal_shows_a_bar_and_a_line_an_epoch():
    screen = io.StringIO()
    show = bar(Console(file=screen, force_terminal=True, width=100))
    told = Progress(run="r", attempt="a", phase=Phase.STARTING, message="rows: 37 % of 5 MB")
    show(told)
    training = {"phase": Phase.TRAINING, "total_steps": 20, "epochs": 2, "message": "", "metrics": {"loss": 0.25}}
    show(told.model_copy(update=training | {"step": 5}))
    show(told.model_copy(update=training | {"step": 10, "epoch": 1}))
    show(told.model_copy(update={"phase": Phase.DONE}))
    text = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", screen.getvalue())
    assert "epoch 1/2  loss 0.25" in text
    assert "rows: 37 % of 5 MB" in text
    assert "50%" in text
    assert begin().verbose == 2
