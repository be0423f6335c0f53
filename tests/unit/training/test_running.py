"""A run as its script sees it, on a laptop and by its document."""

from pathlib import Path

import numpy as np
import pytest

from modelyard.contract.training import Checkpointing
from modelyard.contract.wire import Phase, Progress, RunDocument
from modelyard.training.errors import ConfigurationError
from modelyard.training.progress import ProgressFile
from modelyard.training.running import Run
from modelyard.training.state import Position, State, StateStore
from tests.support.packages import store


def run_of(tmp_path: Path, **document: object) -> Run:
    known = {"training": "t", "namespace": "n", "run": "t-1", "output": str(tmp_path)}
    return Run(RunDocument(**known | document), attempt="a", progress=tmp_path / "progress.json", environment={})


def test_a_hyperparameter_of_another_type_is_refused_by_its_field(tmp_path: Path):
    run = run_of(tmp_path, hyperparameters={"epochs": "ten", "rate": 1})
    assert run.hyperparameter("rate", 0.1) == 1.0
    with pytest.raises(ConfigurationError, match=r"spec\.hyperparameters\.epochs is 'ten': expected int"):
        run.hyperparameter("epochs", 1)


def test_publishing_without_a_gated_metric_is_refused_before_anything_is_written(tmp_path: Path):
    run = run_of(tmp_path, required_metrics=["auc"])
    with pytest.raises(ConfigurationError, match="asks for auc"):
        run.publish(None, features=None, labels=None, metrics={"loss": 1.0}, holdout={})
    assert not (tmp_path / "runs" / "t-1" / "published").exists()


def test_progress_is_written_whole_and_numbers_alone_at_most_twice_a_second(tmp_path: Path):
    now = [0.0]
    path = tmp_path / "progress.json"
    progress = ProgressFile(path, "r", "a", lambda: now[0])
    progress.tell(phase=Phase.TRAINING)
    progress.tell(step=1)
    assert Progress.model_validate_json(path.read_bytes()).step == 0
    now[0] = 1.0
    progress.tell(step=2)
    assert Progress.model_validate_json(path.read_bytes()).step == 2
    progress.tell(step=3, saved_step=3)
    assert Progress.model_validate_json(path.read_bytes()).saved_step == 3


def state(step: int) -> State:
    position = Position(step, step, metrics={"loss": 1.0 / step})
    return State(position, [np.full(3, step, "float32")], [np.int64(step) * np.ones(())])


def test_the_newest_complete_state_is_found_and_only_so_many_are_kept(tmp_path: Path):
    states = StateStore(store(tmp_path), "r", Checkpointing(keep=2).keep)
    assert states.newest() is None
    for step in (1, 2, 3):
        states.save(state(step), "a")
    newest = states.newest()
    assert (newest.position.step, newest.variables[0].tolist()) == (3, [3.0, 3.0, 3.0])
    assert len([path for path in store(tmp_path).list("runs/r/state") if path.endswith(".npz")]) == 2


def test_a_damaged_or_half_written_state_is_passed_over(tmp_path: Path):
    states = StateStore(store(tmp_path), "r", 3)
    states.save(state(1), "a")
    states.save(state(2), "a")
    [path] = [path for path in tmp_path.rglob("state.npz") if path.parent.name.startswith("2-")]
    path.write_bytes(path.read_bytes()[:-5])
    assert states.newest().position.step == 1
    path.unlink()
    assert states.newest().position.step == 1
