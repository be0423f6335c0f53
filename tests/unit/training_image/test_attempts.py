"""The trainer as a process: scripts that publish, raise, are stopped and go on; what is left for the operator."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.contract.wire import ExitCode, Phase, Progress, RunCurves, Termination
from modelyard.model.storage import open_store
from modelyard_trainer.attempting import Ending, conclude
from modelyard_trainer.script import main
from tests.support.kubectl import ROOT

FIT = """
import time
import modelyard
from tests.support.packages import FEATURES, LABELS, SAMPLES, keras_model
import numpy as np
run = modelyard.run()
model = keras_model()
price = np.linspace(-2, 2, 64).astype("float32")
inputs = {"price": price, "country": np.ones(64, "int32")}
targets = {"click": (price > 0)[:, None].astype("float32"), "tags": np.ones((64, 3), "float32")}
class Slow(__import__("keras").callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        time.sleep(run.hyperparameter("pause", 0.0))
batches = run.batches(inputs, targets, batch_size=16)
model.fit(batches, epochs=run.hyperparameter("epochs", 4), verbose=0,
          initial_epoch=run.initial_epoch, callbacks=[run.callback(), Slow()])
holdout = {"price": np.linspace(0, 100, 20), "country": ["nl"] * 20}
run.publish(model, features=FEATURES, labels=LABELS, metrics={"auc": 0.9}, holdout=holdout, samples=SAMPLES)
"""


class Trainer:
    """Attempts at one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._attempts = 0

    def write(self, script: str, **document: object) -> None:
        config = self.folder / "run"
        config.mkdir(exist_ok=True)
        (config / "train.py").write_text(script)
        known = {"training": "clicks", "namespace": "team", "run": "clicks-1", "script": "train.py"}
        known |= {"output": str(self.folder / "output")}
        (config / "run.json").write_text(json.dumps(known | document))

    def start(self) -> tuple[subprocess.Popen, int]:
        self._attempts += 1
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        paths = [ROOT, ROOT / "training_image"]
        environment = {
            **os.environ,
            "PYTHONPATH": ":".join(map(str, paths)),
            "MODELYARD_RUN": str(self.folder / "run" / "run.json"),
            "MODELYARD_ATTEMPT": f"pod-{self._attempts}",
            "MODELYARD_TERMINATION_LOG": str(self.folder / "termination"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        command = [sys.executable, "-m", "modelyard_trainer", "--port", str(port)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT), port

    def run(self) -> tuple[int, Termination]:
        process, _ = self.start()
        return self.end(process)

    def end(self, process: subprocess.Popen) -> tuple[int, Termination]:
        output, _ = process.communicate(timeout=90)
        text = (self.folder / "termination").read_text()
        assert len(text) <= 4096, output
        return process.returncode, Termination.model_validate_json(text)

    def store(self):
        return open_store(str(self.folder / "output"))


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(tmp_path)


def progress_of(port: int) -> Progress | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=2) as answer:
            return Progress.model_validate_json(answer.read())
    except OSError:
        return None


def metrics_of(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
        return answer.read().decode()


def curves_of(port: int) -> RunCurves:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/curves", timeout=2) as answer:
        return RunCurves.model_validate_json(answer.read())


def wait_for(port: int, check: Callable[[Progress], bool]) -> Progress:
    for _ in range(600):
        progress = progress_of(port)
        if progress is not None and check(progress):
            return progress
        time.sleep(0.05)
    raise AssertionError(f"not within 30 s; last {progress}")


def test_a_script_whose_progress_stands_still_is_ended_with_where_it_stood(trainer: Trainer):
    trainer.write("import modelyard, time\nmodelyard.run()\ntime.sleep(60)\n", stallSeconds=2)
    code, record = trainer.run()
    assert (code, record.phase) == (ExitCode.FAILED, Phase.FAILED)
    assert record.message == "no progress for 2 s (spec.stallSeconds) since step 0 (Starting)"


def test_a_stopped_training_saves_its_state_goes_on_and_publishes_once(trainer: Trainer):
    slow = {"epochs": 6, "pause": 0.3}
    trainer.write(FIT, hyperparameters=slow, checkpointing={"everySteps": 4})
    process, port = trainer.start()
    seen = wait_for(port, lambda progress: (progress.saved_step or 0) >= 8)
    assert seen.total_steps == 24
    metrics = metrics_of(port)
    assert 'modelyard_training_phase{phase="Training",run="clicks-1"} 1.0' in metrics
    for name in ("step", "epoch", "saved_step", "eta_seconds", "steps_per_second", "published"):
        assert f'modelyard_training_{name}{{run="clicks-1"}} ' in metrics
    assert curves_of(port).metrics["loss"].steps[:1] == [1]
    process.send_signal(signal.SIGTERM)
    code, record = trainer.end(process)
    assert code == ExitCode.INTERRUPTED, record
    assert "goes on from step" in record.message
    trainer.write(FIT, hyperparameters=slow | {"pause": 0.0}, checkpointing={"everySteps": 4})
    code, record = trainer.run()
    assert (code, record.phase) == (ExitCode.DONE, Phase.DONE), record
    [published] = record.published
    assert (published.step, published.metrics, published.token) == (24, {"auc": 0.9}, "pod-2")
    assert trainer.store().list("runs/clicks-1/published") == ["runs/clicks-1/published/24.json"]
    kept = RunCurves.model_validate_json(trainer.store().read("runs/clicks-1/curves.json"))
    assert kept.metrics["loss"].steps == list(range(1, 25))
    # a pod that is started after all only tells what is there
    code, again = trainer.run()
    assert (code, again.published) == (ExitCode.DONE, [published])


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("x = 1\nraise ValueError('no rows left')\n", ExitCode.FAILED, "ValueError: no rows left (train.py, line 2)"),
        ("import not_there\n", ExitCode.CONFIGURATION, "No module named 'not_there' (train.py, line 1)"),
        ("x = (\n", ExitCode.CONFIGURATION, "(train.py, line 1)"),
        ("print('done')\n", ExitCode.CONFIGURATION, "run.publish"),
        (
            "from modelyard.model.publishing import PublishError\nraise PublishError('output y is missing')\n",
            ExitCode.CONFIGURATION,
            "output y is missing (train.py, line 2)",
        ),
        (
            "from modelyard.model.storage import Full\nraise Full('hdfs://n/x: no room')\n",
            ExitCode.INTERRUPTED,
            "Full: hdfs://n/x: no room (train.py, line 2)",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n", ExitCode.FAILED, "limits.memory"),
    ],
)
def test_how_a_script_failed_is_left_in_the_record(trainer: Trainer, script: str, code: ExitCode, words: str):
    trainer.write(script)
    ended, record = trainer.run()
    assert (ended, record.phase) == (code, Phase.FAILED)
    assert words in record.message


def test_an_output_out_of_reach_is_no_failure_and_a_wrong_one_is(trainer: Trainer):
    trainer.write("", output="pvc://nowhere/x")
    code, record = trainer.run()
    assert (code, "claim nowhere" in record.message) == (ExitCode.INTERRUPTED, True)
    trainer.write("", output="ftp://nowhere/x")
    code, record = trainer.run()
    assert (code, "spec.output.uri: ftp://nowhere/x" in record.message) == (ExitCode.CONFIGURATION, True)


MANY = """
import json, os
from pathlib import Path
package = lambda step: {"step": step, "uri": "s3://bucket/" + "p" * 90, "digest": f"sha256:{step:064}",
                        "metrics": {"val_loss": 1 / step, "auc": 0.5}, "token": "pod-1"}
told = {"run": "clicks-1", "attempt": "a", "phase": "Done", "published": [package(step) for step in range(1, 51)]}
Path(os.environ["MODELYARD_PROGRESS"]).write_text(json.dumps(told))
"""


def test_of_many_packages_the_newest_are_in_the_record_and_all_are_told_before_it_is_left(trainer: Trainer):
    trainer.write(MANY, publish={"when": "Improved", "metric": "val_loss", "mode": "Min"})
    process, port = trainer.start()
    seen = wait_for(port, lambda progress: len(progress.published) == 50)
    while process.poll() is None:
        progress_of(port)
        time.sleep(0.05)
    code, record = trainer.end(process)
    assert code == ExitCode.DONE
    steps = [package.step for package in record.published]
    assert steps == list(range(51 - len(steps), 51))
    assert 5 < len(steps) < 50
    assert [package.step for package in seen.published] == list(range(1, 51))


@pytest.mark.parametrize(
    ("code", "published", "stopping", "ending"),
    [
        (0, True, False, ExitCode.DONE),
        (0, True, True, ExitCode.DONE),
        (-15, False, True, ExitCode.INTERRUPTED),
        (0, False, False, ExitCode.CONFIGURATION),
        (3, False, False, ExitCode.FAILED),
    ],
)
def test_an_ending_follows_from_exit_code_and_what_was_published(code, published, stopping, ending):
    package = {"step": 1, "uri": "s3://b/p", "digest": f"sha256:{0:064x}", "metrics": {}}
    progress = Progress(run="r", attempt="a", phase=Phase.TRAINING, published=[package] if published else [])
    assert conclude(code, progress, None, stopping=stopping).code == ending
    failure = Ending(ExitCode.CONFIGURATION, "why")
    if not published and not stopping and code:
        assert conclude(code, progress, failure, stopping=False) == failure


def test_an_error_of_ours_below_another_library_is_told_as_ours(tmp_path: Path):
    script = tmp_path / "train.py"
    script.write_text(
        "from modelyard.training.errors import DataChangedError, remember\n"
        "error = remember(DataChangedError('spec.data[rows]: a.csv changed'))\n"
        "raise RuntimeError(f'UNKNOWN: DataChangedError: {error} [[node]]')\n"
    )
    failure = tmp_path / "failure.json"
    assert main([str(failure), str(script)]) == ExitCode.CONFIGURATION
    told = json.loads(failure.read_text())["message"]
    assert told == "modelyard.training.errors.DataChangedError: spec.data[rows]: a.csv changed"
