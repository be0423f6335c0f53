"""A run that a queue admits: the queue alone says whether its Job may run."""

from typing import Any

from modelyard.contract.meta import ConditionType
from modelyard.contract.training import RunPhase
from modelyard.contract.wire import Label
from tests.support.objects import pod, running, training
from tests.unit.operator.training.scene import Json, Scene


def queue(**spec: Any) -> Scene:
    scene = Scene(training(queueName="team", **spec))
    scene.act()
    scene.act()
    return scene


def admit(scene: Scene, *, admitted: bool = True) -> None:
    """Do what the queue does; it may add fields of its own."""
    job: Json = scene.job
    template = job["spec"]["template"]
    placed = template | {"spec": template["spec"] | {"nodeSelector": {"pool": "spot"}}}
    scene.see(jobs=(job | {"spec": job["spec"] | {"suspend": not admitted, "template": placed}},))


def test_a_queued_run_begins_suspended_and_says_for_whom_it_waits() -> None:
    scene = queue()
    assert scene.job["spec"]["suspend"] is True
    assert scene.job["metadata"]["labels"][Label.QUEUE] == "team"
    run = scene.status.run
    assert run is not None
    assert (run.phase, run.reason) == (RunPhase.PENDING, "Queued")
    assert run.message == "waits until the queue team admits it (spec.queueName)"
    assert scene.told(ConditionType.TRAINED)[:2] == ("Unknown", "Queued")
    assert scene.told(ConditionType.STALLED)[0] == "False"


def test_what_the_queue_decides_is_left_alone() -> None:
    scene = queue()
    for admitted in (True, False, True):
        admit(scene, admitted=admitted)
        outcome = scene.act()
        assert (outcome.apply, outcome.delete) == ((), ())
    scene.see(pods=(pod(scene.job, "attempt-1", running()),))
    scene.act()
    assert scene.status.run is not None
    assert scene.status.run.phase == RunPhase.RUNNING


def test_a_suspended_run_gives_up_its_place_and_queues_again_afterwards() -> None:
    scene = queue()
    admit(scene)
    name = scene.job["metadata"]["name"]
    scene.change(suspend=True)
    outcome = scene.act()
    assert [(deletion.kind, deletion.name) for deletion in outcome.delete] == [("Job", name)]
    assert [event.reason for event in outcome.events] == ["Suspended"]
    assert scene.act().apply == ()
    assert scene.told(ConditionType.TRAINED)[1] == "Suspended"
    scene.change(suspend=False)
    assert [item["kind"] for item in scene.act().apply] == ["ConfigMap", "Job"]
    assert (scene.job["metadata"]["name"], scene.job["spec"]["suspend"]) == (name, True)


def test_a_run_that_waits_moves_to_another_queue_and_one_that_runs_stays() -> None:
    scene = queue()
    scene.change(queueName="other")
    assert [deletion.kind for deletion in scene.act().delete] == ["Job"]
    scene.act()
    assert scene.job["metadata"]["labels"][Label.QUEUE] == "other"
    admit(scene)
    scene.see(pods=(pod(scene.job, "attempt-1", running()),))
    scene.act()
    scene.change(queueName="third")
    assert scene.act().delete == ()
