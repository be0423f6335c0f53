"""A run of several processes: what it consists of, and what is told of its tasks."""

from typing import Any

from modelyard.contract.distribution import Distribution, list_tasks, tf_config
from modelyard.contract.meta import ConditionType
from modelyard.contract.training import RunPhase, RunStatus
from modelyard.contract.wire import ExitCode, Label, Phase
from modelyard_operator.outcome import Manifest
from modelyard_operator.sampling import Sampler, Samples
from tests.support.objects import (
    NOW,
    ended_job,
    final_record,
    package,
    pod,
    running,
    terminated,
    training,
    unschedulable,
    waiting,
)
from tests.unit.operator.training.scene import Scene

PAIR = {"workers": 2}


def task(scene: Scene, index: int, state: Any, attempt: int = 1, **more: Any) -> Manifest:
    """Return a pod of one task."""
    made = pod(scene.job, f"task-{index}-{attempt}", state, **more)
    labels = made["metadata"]["labels"] | {Label.INDEX: str(index)}
    return made | {"metadata": made["metadata"] | {"labels": labels}}


def start(**distribution: Any) -> Scene:
    scene = Scene(training(distribution=distribution or PAIR))
    scene.act()
    scene.see(pods=(task(scene, 0, running()), task(scene, 1, running())))
    return scene


def run_of(scene: Scene) -> RunStatus:
    scene.act()
    run = scene.status.run
    assert run is not None
    return run


def test_tasks_are_numbered_as_tensorflow_numbers_them() -> None:
    servers = Distribution(workers=2, strategy="ParameterServer", parameter_servers=1, evaluator=True)
    tasks = list_tasks(servers, "digits-1", "digits", "team")
    assert [str(task) for task in tasks] == ["chief", "worker 0", "worker 1", "ps 0", "evaluator"]
    host = "digits-workers.team.svc:2222"
    cluster = {
        "chief": [f"digits-1-0.{host}"],
        "worker": [f"digits-1-1.{host}", f"digits-1-2.{host}"],
        "ps": [f"digits-1-3.{host}"],
    }
    assert tf_config(tasks, 2) == {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    assert tf_config(tasks, 4) == {"cluster": cluster, "task": {"type": "evaluator", "index": 0}}


def test_the_progress_is_the_chiefs_and_the_running_tasks_are_counted() -> None:
    scene = start()
    scene.tell(scene.view.pods[0], phase="Training", step=40, percent=50)
    run = run_of(scene)
    assert (run.phase, run.tasks, run.ready_tasks, run.step, run.pod, run.attempts) == (
        RunPhase.RUNNING,
        2,
        2,
        40,
        "task-0-1",
        1,
    )


def test_a_task_that_finds_no_node_is_named() -> None:
    scene = start()
    scene.see(pods=(task(scene, 0, running()), task(scene, 1, None, **unschedulable("too small", age=600))))
    run = run_of(scene)
    assert (run.phase, run.ready_tasks) == (RunPhase.PENDING, 1)
    assert run.message.startswith("worker 1: no node takes the pod (too small)")
    assert scene.told(ConditionType.STALLED)[0] == "True"


def test_a_task_that_is_awaited_is_named_with_what_it_failed_of() -> None:
    scene = start()
    scene.see(pods=(task(scene, 0, running()), task(scene, 1, waiting("ContainerCreating"))))
    assert run_of(scene).message == "worker 1: the pod is starting"
    scene.see(pods=(task(scene, 0, running()), task(scene, 1, terminated(1, final_record(message="KeyError: 'x'")))))
    assert run_of(scene).message == "worker 1: KeyError: 'x'"
    scene.see(pods=(task(scene, 0, running()),))
    assert run_of(scene).message == "worker 1: the pod is awaited"


def test_of_all_that_ended_the_one_that_failed_is_told() -> None:
    scene = start()
    lost = final_record(phase=Phase.FAILED, message="worker 1 was lost")
    failed = final_record(phase=Phase.FAILED, message="ValueError: no rows (train.py, line 2)")
    scene.see(
        pods=(
            task(scene, 1, terminated(1, failed)),
            task(scene, 0, terminated(ExitCode.INTERRUPTED, lost), reason=""),
        )
    )
    run = run_of(scene)
    assert "is repeated (spec.backoffLimit 3): worker 1: ValueError: no rows (train.py, line 2)" in run.message
    scene.see(jobs=(ended_job(scene.job, condition="Failed", reason="BackoffLimitExceeded"),))
    assert run_of(scene).message == "worker 1: ValueError: no rows (train.py, line 2)"


def test_a_lost_task_is_no_failure_of_the_run() -> None:
    scene = start()
    lost = final_record(phase=Phase.FAILED, message="worker 1 was lost; goes on from step 8")
    scene.see(pods=(task(scene, 0, terminated(ExitCode.INTERRUPTED, lost)),))
    assert (
        run_of(scene).message
        == "attempt 1 is followed by another one: worker 0: worker 1 was lost; goes on from step 8"
    )


def test_the_run_succeeds_with_its_chief() -> None:
    scene = start()
    record = final_record(package(9))
    scene.see(pods=(task(scene, 0, terminated(0, record)), task(scene, 1, running())), jobs=(ended_job(scene.job),))
    run = run_of(scene)
    assert run.phase == RunPhase.SUCCEEDED
    assert [item.step for item in run_of(scene).checkpoints] == [9]


def test_service_and_policy_go_when_the_training_is_one_process_again() -> None:
    scene = start()
    assert [item["kind"] for item in scene.view.links] == ["Service", "NetworkPolicy"]
    before = scene.job["metadata"]["name"]
    scene.change(distribution=None)
    gone = {(deletion.kind, deletion.name) for deletion in scene.act().delete}
    assert gone == {("Job", before), ("Service", "digits-workers"), ("NetworkPolicy", "digits-workers")}
    scene.act()
    assert scene.job["spec"]["completions"] == 1
    assert "subdomain" not in scene.job["spec"]["template"]["spec"]


def test_only_the_chief_is_asked_how_it_goes() -> None:
    scene = start()
    pods = [dict(item) | {"status": item["status"] | {"podIP": "10.0.0.1"}} for item in scene.view.pods]
    sampler = Sampler(None, None, Samples(), None, None, now=lambda: NOW)
    assert [item["metadata"]["name"] for item in sampler._due(pods)] == ["task-0-1"]
