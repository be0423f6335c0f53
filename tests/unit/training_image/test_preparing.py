"""A prepare step as a process: what it writes is there whole or not at all, and it is done once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.contract.wire import ExitCode, Phase
from modelyard.training.errors import ConfigurationError
from modelyard.training.running import Run
from tests.support.kubectl import ROOT
from tests.unit.training_image.test_attempts import Trainer, wait_for

ROWS = """
import modelyard
run = modelyard.run()
run.tell("writing", percent=50)
with run.write("part/rows.csv") as path:
    path.write_text(f"year\\n{run.hyperparameter('year', 0)}\\n")
run.tell("1 row")
"""


class Step(Trainer):
    """Attempts at one step."""

    def write(self, script: str, **document: object) -> None:
        super().write(script, step="rows", run="clicks-rows-1", **document)


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return Step(tmp_path)


def test_a_step_fills_its_folder_and_says_so_and_is_not_run_again(step: Step):
    step.write(ROWS, hyperparameters={"year": 2013})
    code, record = step.run()
    assert (code, record.phase, record.message, record.published) == (ExitCode.DONE, Phase.DONE, "1 row", [])
    assert step.store().list("part") == ["part/rows.csv"]
    assert step.store().read("part/rows.csv") == b"year\n2013\n"
    marker = json.loads(step.store().read("_PREPARED"))
    assert (marker["step"], marker["attempt"], marker["message"]) == ("rows", "pod-1", "1 row")
    step.write("raise SystemExit('it must not run')\n")
    assert step.run() == (code, record)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("raise ValueError('no rows')\n", ExitCode.FAILED, "ValueError: no rows (train.py, line 1)"),
        ("import nowhere\n", ExitCode.CONFIGURATION, "'nowhere'"),
        (
            "import modelyard\nmodelyard.run().publish(0, features=0, labels=0, metrics={}, holdout={})\n",
            ExitCode.CONFIGURATION,
            "only a training publishes (train.py, line 2)",
        ),
    ],
)
def test_a_step_that_raises_leaves_the_reason_and_no_marker(step: Step, script: str, code: ExitCode, words: str):
    step.write(script)
    ended, record = step.run()
    assert (ended, record.phase) == (code, Phase.FAILED)
    assert words in record.message
    assert not (step.folder / "output" / "_PREPARED").exists()


def test_what_is_being_written_when_a_block_raises_is_not_stored(step: Step):
    cut = ROWS.replace("    path.write", "    path.write_text('half'); raise OSError('disk')\n    path.write")
    step.write(cut)
    ended, record = step.run()
    assert (ended, record.message) == (ExitCode.FAILED, "OSError: disk (train.py, line 6)")
    assert step.store().list("part") == []


def test_a_stopped_step_is_no_failure_and_begins_again(step: Step):
    step.write("import modelyard, time\nmodelyard.run()\ntime.sleep(60)\n")
    process, port = step.start()
    wait_for(port, lambda progress: progress.phase is Phase.PREPARING)
    process.send_signal(signal.SIGTERM)
    code, _ = step.end(process)
    assert code == ExitCode.INTERRUPTED
    step.write(ROWS)
    assert step.run()[0] == ExitCode.DONE


def test_a_folder_out_of_reach_is_told_with_its_address(step: Step):
    step.write(ROWS, output="pvc://nowhere/x")
    code, record = step.run()
    assert (code, "pvc://nowhere/x" in record.message) == (ExitCode.INTERRUPTED, True)


def test_a_training_does_not_write_data(tmp_path: Path):
    document = {"training": "clicks", "namespace": "team", "run": "clicks-1", "output": str(tmp_path)}
    (tmp_path / "run.json").write_text(json.dumps(document))
    environment = {"MODELYARD_RUN": str(tmp_path / "run.json"), "MODELYARD_PROGRESS": str(tmp_path / "progress.json")}
    run = Run.begin(environment, [])
    with pytest.raises(ConfigurationError, match=r"run.publish"), run.write("rows.csv"):
        pass


def test_on_a_laptop_a_training_reads_what_the_script_of_the_steps_name_made(tmp_path: Path):
    (tmp_path / "rows.py").write_text(ROWS)
    (tmp_path / "read.py").write_text(
        "import modelyard\nprint((modelyard.run().path('rows') / 'part/rows.csv').read_text())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def play(*command: str) -> str:
        words = [sys.executable, *command]
        return subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    play("rows.py", "--set", "year=1999")
    assert play("read.py") == "year\n1999\n\n"
