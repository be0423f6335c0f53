"""What starts a run, and what does not."""

from typing import Any

import pytest

from modelyard.contract.meta import ConditionType
from modelyard.contract.training import RunPhase
from modelyard_operator.outcome import ScriptContent, TrainingView
from modelyard_operator.training.trigger import pull_trigger
from tests.support.objects import DEFAULTS, ended_job, final_record, package, pod, terminated, training
from tests.unit.operator.training.test_lifecycle import finish, start

TOKEN = {"modelyard.dev/retrain": "again"}


def name_of(text: str | None = None, /, **spec: Any) -> str:
    return pull_trigger(TrainingView(training(**spec), DEFAULTS, ScriptContent(text))).run


@pytest.mark.parametrize(
    "spec",
    [
        {"image": "another:2"},
        {"module": "another.train"},
        {"module": None, "command": ["/train"]},
        {"hyperparameters": {"epochs": 6}},
        {"data": [{"name": "rows", "uri": "s3://bucket/rows"}]},
        {"output": {"uri": "pvc://models/other"}},
        {"seed": 8},
        {"annotations": TOKEN},
    ],
)
def test_a_change_of_what_is_trained_is_another_run(spec: dict[str, Any]) -> None:
    assert name_of(**spec) != name_of()


@pytest.mark.parametrize(
    "spec",
    [
        {"gate": {"metrics": [{"name": "accuracy", "floor": 0.5}]}},
        {"suspend": True},
        {"resources": {"limits": {"memory": "9Gi"}}},
        {"nodeSelector": {"disk": "fast"}},
        {"storage": {"secretNames": ["keys"]}},
        {"backoffLimit": 9, "activeDeadlineSeconds": 5, "historyLimit": 3, "ttlSecondsAfterFinished": 1},
        {"checkpointing": {"keep": 9}},
        {"signing": {"secretName": "keys"}},
    ],
)
def test_a_change_of_anything_else_is_the_same_run(spec: dict[str, Any]) -> None:
    assert name_of(**spec) == name_of()


def test_a_script_is_trained_by_its_content() -> None:
    script = {"module": None, "script": {"configMap": "scripts"}}
    moved = {"module": None, "script": {"configMap": "moved"}}
    assert name_of("a = 1", **script) == name_of("a = 1", **moved)
    assert name_of("a = 1", **script) != name_of("a = 2", **script)


def test_the_longest_name_leaves_room_for_the_pods_of_a_job() -> None:
    view = TrainingView(training("a" * 63), DEFAULTS)
    assert len(pull_trigger(view).run) == 52


def test_a_token_trains_the_same_again_and_says_why() -> None:
    scene = start()
    finish(scene)
    first = scene.job["metadata"]["name"]
    scene.change(annotations=TOKEN)
    outcome = scene.act()
    assert [manifest["kind"] for manifest in outcome.apply][:2] == ["ConfigMap", "Job"]
    assert scene.status.run is not None
    assert (scene.status.run.name != first, scene.status.run.trigger) == (True, "Token")
    scene.act()
    assert scene.status.run.trigger == "Token"
    assert [config["metadata"]["name"] for config in scene.view.configs] == [scene.status.run.name]


def test_a_changed_spec_stops_the_old_run_before_the_new_one_starts() -> None:
    scene = start()
    scene.act()
    old = scene.job["metadata"]["name"]
    scene.change(hyperparameters={"epochs": 9})
    outcome = scene.act()
    assert [(deletion.kind, deletion.name) for deletion in outcome.delete] == [("Job", old)]
    assert outcome.apply == ()
    record = scene.status.runs[0]
    assert (record.name, record.phase, record.reason) == (old, RunPhase.FAILED, "Superseded")
    assert record.message.startswith("Superseded by digits-")
    outcome = scene.act()
    assert [manifest["kind"] for manifest in outcome.apply] == ["ConfigMap", "Job"]
    assert scene.job["metadata"]["name"] != old


def test_the_new_run_waits_while_the_old_job_is_on_its_way_out() -> None:
    scene = start()
    scene.act()
    old = scene.job
    scene.change(hyperparameters={"epochs": 9})
    scene.act()
    leaving = {**old, "metadata": {**old["metadata"], "deletionTimestamp": "2026-11-24T12:00:00Z"}}
    scene.see(jobs=(leaving,))
    outcome = scene.act()
    assert (outcome.apply, outcome.delete) == ((), ())
    assert scene.status.run is not None
    assert scene.status.run.message == f"waits until the run {old['metadata']['name']} has stopped"


def test_a_superseded_run_is_recorded_also_after_a_crash_between_delete_and_status() -> None:
    scene = start()
    scene.act()
    old = scene.job["metadata"]["name"]
    before = scene.view.training
    scene.change(hyperparameters={"epochs": 9})
    changed = scene.view.training
    scene.act()
    scene.see(training=changed.model_copy(update={"status": before.status}))
    scene.act()
    assert [(item.name, item.reason) for item in scene.status.runs] == [(old, "Superseded")]


def test_going_back_to_a_finished_spec_trains_nothing() -> None:
    scene = start()
    finish(scene)
    first = scene.status.run
    scene.change(hyperparameters={"epochs": 9})
    scene.act()
    finish(scene, step=11)
    assert first is not None
    assert scene.status.run is not None
    assert scene.status.run.name != first.name
    scene.change(hyperparameters=None)
    outcome = scene.act()
    assert [manifest["kind"] for manifest in outcome.apply if manifest["kind"] == "Job"] == []
    assert scene.status.run is not None
    assert scene.status.run.name == first.name
    assert scene.told(ConditionType.READY)[0] == "True"
    assert len(scene.status.runs) == 2


def test_going_back_to_a_superseded_spec_lets_its_run_go_on() -> None:
    scene = start()
    scene.act()
    old = scene.job["metadata"]["name"]
    scene.change(hyperparameters={"epochs": 9})
    scene.act()
    scene.act()
    scene.change(hyperparameters=None)
    scene.act()
    scene.see(pods=())
    scene.act()
    assert [job["metadata"]["name"] for job in scene.view.jobs] == [old]
    assert [item.reason for item in scene.status.runs] == ["Superseded"]
    assert scene.status.runs[0].name != old


def test_the_history_keeps_the_newest_runs() -> None:
    scene = start(historyLimit=2)
    for epochs in range(1, 5):
        finish(scene, step=epochs)
        scene.wait(60)
        scene.change(hyperparameters={"epochs": epochs})
        scene.act()
        scene.see(pods=())
    assert len(scene.status.runs) == 2


def test_an_old_job_that_ended_unseen_is_recorded() -> None:
    scene = start()
    scene.act()
    old = scene.job
    record = final_record(package(3, accuracy=0.9))
    scene.see(pods=(pod(old, "attempt-1", terminated(0, record)),), jobs=(ended_job(old),))
    scene.change(hyperparameters={"epochs": 9})
    outcome = scene.act()
    assert {manifest["kind"] for manifest in outcome.apply} == {"ConfigMap", "Job", "ModelCheckpoint"}
    entry = next(item for item in scene.status.runs if item.name == old["metadata"]["name"])
    assert entry.phase == RunPhase.SUCCEEDED


def test_two_trainings_never_share_a_run() -> None:
    one, two = training("one"), training("two")
    names = {pull_trigger(TrainingView(item, DEFAULTS)).run for item in (one, two)}
    assert len(names) == 2
