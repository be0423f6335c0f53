"""A training from its first pass to its last."""

from typing import Any

from modelyard.contract.meta import ConditionType
from modelyard.contract.training import RunPhase, TrainingPhase
from modelyard.contract.wire import Phase
from modelyard_operator.outcome import ScriptContent
from tests.support.objects import ended_job, final_record, live, package, pod, running, terminated, training, waiting
from tests.unit.operator.training.scene import Scene

GATE = {"metrics": [{"name": "accuracy", "floor": 0.95}]}


def start(**spec: Any) -> Scene:
    scene = Scene(training(**spec))
    scene.act()
    scene.see(pods=(pod(scene.job, "attempt-1", running()),))
    return scene


def finish(scene: Scene, accuracy: float = 0.97, step: int = 9) -> None:
    """Let the newest run publish and its Job complete; then let everyone act."""
    job = scene.view.jobs[-1]
    name = job["metadata"]["name"]
    record = final_record(package(step, accuracy=accuracy))
    scene.see(pods=(pod(job, f"{name}-pod", terminated(0, record)),))
    scene.see(jobs=(*(item for item in scene.view.jobs if item is not job), ended_job(job)))
    scene.act()
    scene.act()
    scene.judge()
    scene.act()


def test_the_first_pass_starts_a_run_and_says_so() -> None:
    scene = Scene(training())
    outcome = scene.act()
    assert [event.reason for event in outcome.events] == ["RunCreated"]
    assert scene.status.run is not None
    assert scene.status.run.name == scene.job["metadata"]["name"]
    assert scene.status.phase == TrainingPhase.PENDING
    assert scene.told(ConditionType.RECONCILING)[0] == "True"


def test_a_second_pass_over_the_same_world_changes_nothing() -> None:
    scene = start()
    scene.act()
    before = scene.status
    scene.wait(3600)
    outcome = scene.act()
    assert (outcome.apply, outcome.delete, outcome.events) == ((), (), ())
    assert scene.status == before


def test_progress_is_what_the_pod_tells() -> None:
    scene = start()
    scene.tell(
        scene.view.pods[0],
        phase="Training",
        step=40,
        percent=37.9,
        etaSeconds=250.4,
        epoch=2,
        savedStep=30,
        metrics={"loss": 0.5, "accuracy": float("nan")},
    )
    scene.act()
    run = scene.status.run
    assert run is not None
    assert (scene.status.progress, scene.status.eta, scene.status.phase) == ("37%", "4m10s", TrainingPhase.RUNNING)
    assert (run.activity, run.step, run.epoch, run.saved_step) == ("Training", 40, 2, 30)
    assert run.metrics == {"loss": 0.5}
    assert (run.attempts, run.pod) == (1, "attempt-1")


def test_a_restarted_operator_that_has_no_progress_yet_changes_nothing() -> None:
    scene = start()
    scene.tell(scene.view.pods[0], phase="Training", step=40, percent=37.9, etaSeconds=250.4)
    scene.act()
    scene.act()
    before = scene.status
    scene.see(progress={})
    scene.act()
    assert scene.status == before


def test_a_finished_run_is_recorded_judged_and_ready() -> None:
    scene = start(gate=GATE)
    finish(scene)
    status, run = scene.status, scene.status.run
    assert run is not None
    assert scene.told(ConditionType.READY)[:2] == ("True", "Succeeded")
    assert scene.told(ConditionType.STALLED)[0] == "False"
    assert (status.phase, status.progress, status.gate) == (TrainingPhase.SUCCEEDED, "100%", "Passed")
    assert status.champion == status.last_published == run.checkpoints[0]
    assert run.checkpoints[0].name == f"{run.name}-9"
    assert [(item.name, item.phase, item.checkpoint) for item in status.runs] == [
        (run.name, RunPhase.SUCCEEDED, f"{run.name}-9")
    ]


def test_a_run_below_the_gate_stalls_with_the_threshold_it_missed() -> None:
    scene = start(gate=GATE)
    finish(scene, accuracy=0.91)
    assert scene.status.gate == "Failed: accuracy 0.91 is below the floor 0.95"
    status, reason, message = scene.told(ConditionType.STALLED)
    assert (status, reason) == ("True", "GateFailed")
    assert "accuracy 0.91 is below the floor 0.95" in message
    assert scene.status.champion is None
    assert scene.status.last_published is not None


def test_a_loosened_gate_mends_the_training_without_a_new_run() -> None:
    scene = start(gate=GATE)
    finish(scene, accuracy=0.91)
    scene.change(gate={"metrics": [{"name": "accuracy", "floor": 0.9}]})
    outcome = scene.act()
    assert outcome.apply == ()
    assert scene.told(ConditionType.PASSED)[0] == "Unknown"
    scene.judge()
    scene.act()
    assert scene.told(ConditionType.READY)[0] == "True"


def test_a_run_that_publishes_nothing_stalls() -> None:
    scene = start()
    scene.see(pods=(pod(scene.job, "attempt-1", terminated(0)),), jobs=(ended_job(scene.job),))
    scene.act()
    assert scene.told(ConditionType.STALLED)[:2] == ("True", "NothingPublished")
    assert "run.publish()" in scene.told(ConditionType.READY)[2]


def test_an_ended_job_waits_for_its_pods_last_word() -> None:
    scene = start()
    scene.see(jobs=(ended_job(scene.job),))
    outcome = scene.act()
    assert outcome.requeue_after == 2.0
    assert scene.told(ConditionType.RECONCILING)[0] == "True"
    scene.wait(31)
    scene.act()
    assert scene.told(ConditionType.STALLED)[1] == "NothingPublished"


def test_the_time_to_live_starts_only_when_the_result_is_recorded() -> None:
    scene = start(ttlSecondsAfterFinished=0)
    assert "ttlSecondsAfterFinished" not in scene.job["spec"]
    scene.see(pods=(pod(scene.job, "attempt-1", terminated(0, final_record(package(1)))),))
    scene.see(jobs=(ended_job(scene.job),))
    first = [manifest["kind"] for manifest in scene.act().apply]
    second = scene.act().apply
    assert first == ["ModelCheckpoint"]
    assert [manifest["spec"]["ttlSecondsAfterFinished"] for manifest in second] == [0]
    assert scene.act().apply == ()


def test_a_finished_run_is_not_repeated_when_its_job_is_gone() -> None:
    scene = start()
    finish(scene)
    before = scene.status
    scene.see(jobs=(), pods=(), configs=())
    assert scene.act().apply == ()
    assert scene.status == before


def test_a_finished_run_is_known_by_its_checkpoint_when_the_status_is_lost() -> None:
    scene = start()
    finish(scene)
    scene.see(jobs=(), pods=(), configs=(), training=training())
    assert scene.act().apply == ()
    assert scene.status.phase == TrainingPhase.SUCCEEDED


def test_a_job_deleted_by_hand_is_made_again_and_the_run_goes_on() -> None:
    scene = start()
    scene.act()
    name = scene.job["metadata"]["name"]
    scene.see(jobs=(), pods=())
    assert [manifest["metadata"]["name"] for manifest in scene.act().apply if manifest["kind"] == "Job"] == [name]


def test_a_failed_run_tells_the_scripts_own_error() -> None:
    scene = start()
    words = final_record(phase=Phase.FAILED, message="ValueError: no rows (train.py:12)")
    scene.see(pods=(pod(scene.job, "attempt-4", terminated(1, words)),))
    scene.see(jobs=(ended_job(scene.job, condition="Failed", reason="BackoffLimitExceeded"),))
    scene.act()
    assert scene.told(ConditionType.STALLED)[:2] == ("True", "RunFailed")
    assert "ValueError: no rows (train.py:12)" in scene.told(ConditionType.READY)[2]
    assert scene.status.runs[0].message == "ValueError: no rows (train.py:12)"
    assert scene.act().apply[0]["spec"]["ttlSecondsAfterFinished"] == 86_400
    assert scene.act().apply == ()


def test_an_attempt_that_failed_is_told_while_the_next_is_awaited() -> None:
    scene = start()
    scene.see(pods=(pod(scene.job, "attempt-1", terminated(1, "KeyError: 'label'")),))
    scene.act()
    assert scene.told(ConditionType.RECONCILING)[0] == "True"
    assert "KeyError: 'label'" in scene.told(ConditionType.TRAINED)[2]
    first = scene.view.pods[0]
    scene.see(pods=(first, pod(scene.job, "attempt-2", running())))
    scene.act()
    assert scene.status.run is not None
    assert (scene.status.run.attempts, scene.status.run.phase, scene.status.run.message) == (2, RunPhase.RUNNING, "")


def test_attempts_are_counted_also_when_their_pods_are_gone() -> None:
    scene = start()
    scene.act()
    scene.see(pods=(pod(scene.job, "attempt-2", running()),))
    scene.act()
    scene.see(pods=(pod(scene.job, "attempt-3", running()),))
    scene.act()
    assert scene.status.run is not None
    assert scene.status.run.attempts == 3


def test_a_checkpoint_published_on_the_way_is_recorded_at_once_and_once() -> None:
    scene = start()
    published = package(5, accuracy=0.9).document() | {"runtime": "TensorFlow"}
    scene.tell(scene.view.pods[0], phase="Training", step=6, published=[published])
    [manifest] = scene.act().apply
    assert manifest["metadata"]["name"] == f"{scene.job['metadata']['name']}-5"
    assert manifest["spec"]["runtime"] == "TensorFlow"
    assert scene.act().apply == ()


def test_suspending_stops_the_job_and_resuming_lets_it_go_on() -> None:
    scene = start()
    scene.act()
    scene.change(suspend=True)
    (stopped,) = scene.act().apply
    assert [event.reason for event in scene.outcome.events] == ["Suspended"]
    assert stopped["spec"]["suspend"] is True
    scene.see(pods=())
    scene.act()
    assert scene.status.phase == TrainingPhase.SUSPENDED
    assert scene.told(ConditionType.STALLED)[0] == "False"
    scene.change(suspend=False)
    (resumed,) = scene.act().apply
    assert [event.reason for event in scene.outcome.events] == ["Resumed"]
    assert resumed["spec"]["suspend"] is False
    assert resumed["metadata"]["name"] == stopped["metadata"]["name"]
    assert resumed["spec"]["template"] == stopped["spec"]["template"]


def test_a_suspended_training_starts_nothing() -> None:
    scene = Scene(training(suspend=True))
    assert scene.act().apply == ()
    assert scene.status.phase == TrainingPhase.SUSPENDED


def test_a_missing_script_stalls_and_mends_itself() -> None:
    spec: Any = {"module": None, "script": {"configMap": "scripts"}}
    scene = Scene(training(**spec), script=ScriptContent(None, "spec.script.configMap: there is no ConfigMap scripts"))
    assert scene.act().apply == ()
    assert scene.told(ConditionType.STALLED) == (
        "True",
        "ScriptNotFound",
        "spec.script.configMap: there is no ConfigMap scripts",
    )
    scene.see(script=ScriptContent("print()"))
    assert len(scene.act().apply) == 2
    assert scene.told(ConditionType.STALLED)[0] == "False"


def test_a_vanished_script_stops_nothing() -> None:
    spec: Any = {"module": None, "script": {"configMap": "scripts"}}
    scene = Scene(training(**spec), script=ScriptContent("print()"))
    scene.act()
    scene.see(script=ScriptContent(None, "gone"))
    outcome = scene.act()
    assert (outcome.apply, outcome.delete) == ((), ())


def test_correcting_the_storage_of_a_waiting_run_gives_it_a_new_job() -> None:
    scene = start(storage={"secretNames": ["kyes"]})
    name = scene.job["metadata"]["name"]
    message = 'secret "kyes" not found'
    scene.see(pods=(pod(scene.job, "attempt-1", waiting("CreateContainerConfigError", message)),))
    scene.act()
    assert scene.told(ConditionType.STALLED)[:2] == ("True", "RunPending")
    assert "spec.storage.secretNames" in scene.told(ConditionType.STALLED)[2]
    scene.change(storage={"secretNames": ["keys"]})
    assert [deletion.kind for deletion in scene.act().delete] == ["Job"]
    scene.see(pods=())
    (job,) = [manifest for manifest in scene.act().apply if manifest["kind"] == "Job"]
    assert job["metadata"]["name"] == name
    assert job["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"] == "keys"


def test_a_job_that_is_being_deleted_is_left_alone() -> None:
    scene = start()
    job = live(scene.job)
    job["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    scene.see(jobs=(job,), pods=())
    outcome = scene.act()
    assert (outcome.apply, outcome.delete) == ((), ())


def test_a_job_that_gets_no_pod_stalls_after_a_while() -> None:
    scene = Scene(training(storage={"serviceAccountName": "trainer"}))
    scene.act()
    outcome = scene.act()
    assert outcome.requeue_after == 20.0
    scene.wait(21)
    scene.act()
    assert "spec.storage.serviceAccountName" in scene.told(ConditionType.STALLED)[2]
