"""Prepare steps: in order, each once, and the training after them."""

from dataclasses import replace
from typing import Any

import pytest

from modelyard.contract.meta import ConditionType
from modelyard.contract.training import RunPhase, TrainingPhase
from modelyard_operator.outcome import ScriptContent
from modelyard_operator.training.steps import chain
from tests.support.golden import Golden
from tests.support.objects import pod, running, terminated, training, waiting
from tests.unit.operator.training.scene import Scene, name_of
from tests.unit.operator.training.test_lifecycle import finish

RAW = {"name": "raw", "uri": "s3://bucket/raw"}
ROWS: dict[str, Any] = {
    "name": "rows",
    "module": "example.rows",
    "inputs": [RAW],
    "output": {"uri": "pvc://models/rows"},
}
WORDS: dict[str, Any] = {"name": "words", "command": ["/words", "--fast"], "output": {"uri": "pvc://cache/words"}}


def start(*steps: dict[str, Any], **spec: Any) -> Scene:
    scene = Scene(training(prepare=list(steps or (ROWS, WORDS)), **spec))
    scene.act()
    return scene


def names(scene: Scene) -> list[str]:
    return [step.job for step in chain(scene.view)]


def test_a_training_with_steps_is_as_recorded(golden: Golden) -> None:
    full = ROWS | {
        "module": None,
        "script": {"configMap": "scripts", "file": "rows.py"},
        "image": "registry.test/rows:2",
        "env": {"YEAR": "2013", "HOME": "/nowhere"},
        "resources": {"limits": {"memory": "1Gi"}},
        "hyperparameters": {"rows": 5},
        "backoffLimit": 1,
        "activeDeadlineSeconds": 60,
    }
    scripts = {"rows": ScriptContent("print('rows')\n")}
    wanted = training(prepare=[{key: value for key, value in full.items() if value}, WORDS], nodeSelector={"a": "b"})
    scene = Scene(wanted, step_scripts=scripts)
    made = [*scene.act().apply]
    scene.finish_step("5 rows")
    made += scene.act().apply
    scene.finish_step()
    made += scene.act().apply
    golden.objects("training/prepare.yaml", *made)


def test_steps_are_done_in_order_and_the_training_comes_last() -> None:
    scene = start()
    assert [name_of(job) for job in scene.view.steps] == names(scene)[:1]
    assert scene.view.jobs == ()
    assert [event.message for event in scene.outcome.events] == [f"step rows (1 of 2) begins: {names(scene)[0]}"]
    scene.finish_step("5 rows")
    scene.act()
    assert [name_of(job) for job in scene.view.steps] == names(scene)
    assert scene.view.jobs == ()
    assert scene.outcome.events[0].message == "step rows is done: 5 rows"
    scene.finish_step()
    scene.act()
    assert len(scene.view.jobs) == 1
    assert [(item.name, item.message) for item in scene.status.prepared] == [("rows", "5 rows"), ("words", "")]
    assert scene.told(ConditionType.PREPARED) == ("True", "Prepared", "done: rows, words")


def test_a_step_under_way_is_told_with_its_progress() -> None:
    scene = start()
    scene.see(pods=(pod(scene.step, "rows-1", running()),))
    scene.tell(scene.view.pods[0], phase="Preparing", percent=40.2, message="joining")
    scene.act()
    scene.act()
    status = scene.status
    assert (status.phase, status.progress) == (TrainingPhase.PREPARING, "40%")
    assert status.run is not None
    assert status.run.message == "step rows (1 of 2): joining"
    assert status.preparing is not None
    assert (status.preparing.name, status.preparing.pod, status.preparing.activity) == ("rows", "rows-1", "Preparing")
    assert scene.told(ConditionType.RECONCILING)[0] == "True"
    assert scene.told(ConditionType.PREPARED)[:2] == ("Unknown", "Preparing")
    before = scene.outcome.status
    scene.act()
    assert (scene.outcome.apply, scene.outcome.delete, scene.outcome.events) == ((), (), ())
    assert scene.outcome.status == before


def test_a_failed_step_fails_the_run_in_the_words_of_its_own_fields() -> None:
    scene = start()
    scene.finish_step("KeyError: 'year' (rows.py, line 3); see spec.data", code=1)
    scene.act()
    words = "spec.prepare[0] (rows): KeyError: 'year' (rows.py, line 3); see spec.prepare[0].inputs"
    assert scene.told(ConditionType.PREPARED) == ("False", "PrepareFailed", words)
    status, reason, message = scene.told(ConditionType.STALLED)
    assert (status, reason) == ("True", "PrepareFailed")
    assert words in message
    assert scene.view.jobs == ()
    assert [(item.phase, item.reason) for item in scene.status.runs] == [(RunPhase.FAILED, "PrepareFailed")]
    assert scene.act().apply[0]["spec"]["ttlSecondsAfterFinished"] == 86_400
    scene.see(steps=(), pods=(), step_configs=())
    outcome = scene.act()
    assert (outcome.apply, outcome.events) == ((), ())
    assert scene.told(ConditionType.PREPARED)[2] == words


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (waiting("ErrImagePull"), "spec.prepare[0].image"),
        (waiting("CreateContainerConfigError", 'secret "keys" not found'), "spec.storage.secretNames"),
        (terminated(137, reason="OOMKilled"), "spec.prepare[0].resources.limits.memory"),
    ],
)
def test_what_holds_a_step_back_names_the_field(state: dict[str, Any], field: str) -> None:
    scene = start()
    scene.see(pods=(pod(scene.step, "rows-1", state),))
    scene.act()
    assert scene.status.run is not None
    assert field in scene.status.run.message
    assert scene.told(ConditionType.STALLED)[0] == ("False" if "resources" in field else "True")


def test_correcting_a_step_that_waits_gives_it_a_new_job() -> None:
    scene = start(storage={"secretNames": ["kyes"]})
    scene.see(pods=(pod(scene.step, "rows-1", waiting("CreateContainerConfigError", 'secret "kyes" not found')),))
    scene.act()
    scene.change(storage={"secretNames": ["keys"]})
    assert [deletion.name for deletion in scene.act().delete] == names(scene)[:1]
    scene.see(pods=())
    assert [manifest["kind"] for manifest in scene.act().apply] == ["ConfigMap", "Job"]


def prepare_both(scene: Scene) -> None:
    for _ in range(2):
        scene.finish_step()
        scene.act()


def test_what_is_done_is_not_done_again_for_another_run_after_a_restart_or_without_its_job() -> None:
    scene = start()
    prepare_both(scene)
    finish(scene)
    expiring = [m for m in scene.act().apply if m["metadata"]["labels"]["modelyard.dev/component"] == "prepare"]
    assert [manifest["spec"]["ttlSecondsAfterFinished"] for manifest in expiring] == []
    scene.see(steps=(), step_configs=(), pods=())
    scene.change(hyperparameters={"epochs": 9})
    scene.act()
    assert scene.view.steps == ()
    assert len(scene.view.jobs) == 2


def test_a_changed_step_is_done_again_with_those_after_it_only() -> None:
    scene = start()
    prepare_both(scene)
    first, second = names(scene)
    changed = WORDS | {"command": ["/words", "--slow"]}
    scene.change(prepare=[ROWS, changed])
    assert names(scene)[0] == first
    assert names(scene)[1] != second
    scene.change(prepare=[ROWS | {"inputs": [RAW | {"uri": "s3://bucket/more"}]}, WORDS])
    assert not {first, second} & set(names(scene))


@pytest.mark.parametrize(
    "change",
    [{"resources": {"limits": {"memory": "9Gi"}}}, {"backoffLimit": 9}, {"activeDeadlineSeconds": 9}],
)
def test_what_a_step_may_use_up_is_no_part_of_it(change: dict[str, Any]) -> None:
    scene = start()
    before = names(scene)
    scene.change(prepare=[ROWS | change, WORDS])
    assert names(scene) == before


def test_a_token_prepares_everything_again() -> None:
    scene = start()
    before = names(scene)
    scene.change(annotations={"modelyard.dev/retrain": "new rows"})
    assert not set(before) & set(names(scene))


def test_a_change_on_the_way_stops_the_step_and_supersedes_the_run() -> None:
    scene = start()
    scene.act()
    old = scene.step
    scene.change(prepare=[ROWS | {"module": "example.better"}])
    outcome = scene.act()
    assert ("Job", name_of(old)) in [(deletion.kind, deletion.name) for deletion in outcome.delete]
    assert [item.reason for item in scene.status.runs] == ["Superseded"]
    assert scene.status.run is not None
    assert f"waits until {name_of(old)} has stopped" in scene.status.run.message
    scene.act()
    assert [name_of(job) for job in scene.view.steps] == names(scene)
    assert [name_of(config) for config in scene.view.step_configs] == names(scene)


def test_suspending_stops_the_step_and_it_begins_again() -> None:
    scene = start()
    scene.act()
    scene.change(suspend=True)
    [stopped] = scene.act().apply
    assert stopped["spec"]["suspend"] is True
    scene.act()
    assert scene.status.phase == TrainingPhase.SUSPENDED
    scene.change(suspend=False)
    [resumed] = scene.act().apply
    assert resumed["spec"]["suspend"] is False
    scene.act()
    assert scene.status.phase == TrainingPhase.PREPARING


def test_a_suspended_training_prepares_nothing() -> None:
    scene = start(suspend=True)
    assert (scene.view.steps, scene.view.jobs) == ((), ())
    assert scene.status.phase == TrainingPhase.SUSPENDED


def test_a_missing_script_of_a_step_stalls_with_its_field() -> None:
    step = {**ROWS, "script": {"configMap": "scripts"}, "module": None}
    scene = Scene(
        training(prepare=[{key: value for key, value in step.items() if value}]),
        step_scripts={"rows": ScriptContent(None, "spec.prepare[0].script.configMap: there is no ConfigMap scripts")},
    )
    scene.act()
    assert (scene.view.steps, scene.view.jobs) == ((), ())
    assert scene.told(ConditionType.STALLED)[1:] == (
        "ScriptNotFound",
        "spec.prepare[0].script.configMap: there is no ConfigMap scripts",
    )


def test_a_lost_record_is_made_again_from_the_jobs() -> None:
    scene = start()
    prepare_both(scene)
    status = scene.view.training.status.model_copy(update={"prepared": []})
    scene.see(training=scene.view.training.model_copy(update={"status": status}))
    before = scene.view
    scene.act()
    assert [item.name for item in scene.status.prepared] == ["rows", "words"]
    assert replace(scene.view, training=before.training) == before


def test_the_record_keeps_what_the_spec_has_and_the_newest_of_the_rest() -> None:
    scene = start(ROWS)
    for number in range(60):
        scene.finish_step()
        scene.act()
        scene.see(steps=(), pods=(), jobs=())
        scene.change(prepare=[ROWS | {"env": {"N": str(number)}}])
        scene.act()
    assert len(scene.status.prepared) <= 50
    scene.change(prepare=[ROWS | {"env": {"N": "58"}}])
    scene.act()
    scene.act()
    assert scene.told(ConditionType.PREPARED)[0] == "True"
