"""Which packages are collected, when, and how a choice on the way saves one."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelyard.contract.checkpoint import CheckpointStatus, ModelCheckpoint
from modelyard.contract.retention import Collected, Collection
from modelyard.contract.training import FinishedRun, RunPhase, RunStatus, TrainingStatus
from modelyard_operator.checkpoint.gate import evaluate
from modelyard_operator.training.retention import LEFTOVERS, PERIOD
from tests.support.golden import Golden
from tests.support.objects import NOW, checkpoint, digest_of, ended_job, live, pod, running, terminated, training
from tests.unit.operator.training.scene import Scene, name_of

OUTPUT = "pvc://models/digits"
OLD = 3660.0


def record(number: int, *, accuracy: float = 0.97, age: float = OLD, **spec: Any) -> ModelCheckpoint:
    """Return the checkpoint that run `number` published, judged; the higher the number, the newer."""
    run = f"digits-run{number}"
    uri = f"{OUTPUT}/runs/{run}/attempts/{number}-pod"
    item = checkpoint(f"{run}-{number}", number=number, age=age - number, run=run, uri=uri, **spec)
    labels = {"app.kubernetes.io/managed-by": "modelyard", "modelyard.dev/training": "digits"}
    metrics = {"accuracy": accuracy}
    verdict = evaluate(training(gate=GATE).spec.gate, metrics)
    return item.model_copy(
        update={
            "metadata": item.metadata.model_copy(update={"labels": labels}),
            "spec": item.spec.model_copy(update={"metrics": metrics}),
            "status": CheckpointStatus(verdict=verdict),
        }
    )


GATE = {"metrics": [{"name": "accuracy", "floor": 0.9}]}


def scene_of(*checkpoints: ModelCheckpoint, keep: int = 2, users: tuple[Any, ...] = (), **spec: Any) -> Scene:
    """Return a training at rest, whose runs have published these."""
    wanted = training(gate=GATE, retention={"keep": keep}, **spec)
    first = Scene(wanted)
    first.act()
    run = name_of(first.job)
    ended = RunStatus(name=run, trigger="Spec", phase=RunPhase.SUCCEEDED)
    runs = [FinishedRun(name=run, phase=RunPhase.SUCCEEDED, completion_time=NOW)]
    status = TrainingStatus(run=ended, runs=runs)
    return Scene(wanted.model_copy(update={"status": status}), checkpoints=checkpoints, users=users)


def expiring(scene: Scene) -> list[str]:
    return [item.checkpoint for item in scene.status.retention.expiring] if scene.status.retention else []


def told(scene: Scene) -> Collection:
    [config] = scene.view.collection_configs
    return Collection.model_validate_json(config["data"]["collection.json"])


def end(scene: Scene, collected: Collected, *, failed: bool = False) -> None:
    """Let the collecting Job end with a record."""
    [job] = scene.view.collections
    state = terminated(1 if failed else 0, collected.model_dump_json(by_alias=True))
    scene.see(
        collections=(ended_job(job, condition="Failed" if failed else "Complete"),),
        pods=(pod(job, "collector-pod", state, container="collector"),),
    )
    scene.act()


def user(kind: str = "ModelServing", name: str = "shop", **parts: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "team"}, **parts}


def test_packages_are_noted_then_hidden_then_deleted(golden: Golden) -> None:
    scene = scene_of(*map(record, range(1, 5)))
    scene.act()
    assert expiring(scene) == ["digits-run1-1", "digits-run2-2"]
    assert (scene.outcome.apply, scene.outcome.delete) == ((), ())
    deleted = [(item.kind, item.name) for item in scene.act().delete]
    assert deleted == [("ModelCheckpoint", "digits-run1-1"), ("ModelCheckpoint", "digits-run2-2")]
    assert scene.act().requeue_after == 60.0
    assert scene.view.collections == ()
    scene.wait(60)
    scene.act()
    golden.objects("training/collecting.yaml", *scene.outcome.apply)
    assert scene.act().apply == ()
    end(scene, Collected(packages=["digits-run1-1", "digits-run2-2"], states=1, leftovers=0))
    assert expiring(scene) == []
    assert scene.status.retention is not None
    assert scene.status.retention.collected == 2
    words = "2 packages, the states of 1 runs and 0 unfinished packages deleted"
    assert [(event.reason, event.message) for event in scene.outcome.events] == [("Collected", words)]
    [expiry] = scene.act().apply
    assert expiry["spec"]["ttlSecondsAfterFinished"] == 3600
    assert scene.view.collection_configs == ()
    assert scene.act() == replace(scene.outcome, apply=(), delete=(), events=())


def test_a_pass_that_is_repeated_makes_the_same_job() -> None:
    scene = scene_of(*map(record, range(1, 5)))
    for _ in range(2):
        scene.act()
    scene.wait(61)
    before = scene.view
    scene.act()
    made = name_of(scene.view.collections[0])
    scene.view = before
    scene.wait(5)
    scene.act()
    assert name_of(scene.view.collections[0]) == made


@pytest.mark.parametrize(
    "kept",
    [
        user(spec={"model": {"checkpoint": "digits-run1-1"}}),
        user(spec={"model": {"uri": f"{OUTPUT}/runs/digits-run1/attempts/1-pod/", "digest": digest_of(9)}}),
        user(spec={"model": {"uri": "s3://mirror/p", "digest": digest_of(1)}}),
        user(status={"stable": {"checkpoint": "digits-run1-1"}}),
        user(status={"candidate": {"digest": digest_of(1)}}),
        user(status={"previous": [{"digest": digest_of(1)}]}),
        user("ModelCheckpoint", "by-hand", spec={"uri": f"{OUTPUT}/runs/digits-run1/attempts/1-pod"}),
    ],
)
def test_what_anything_names_is_kept(kept: dict[str, Any]) -> None:
    scene = scene_of(*map(record, range(1, 5)), users=(kept,))
    scene.act()
    assert expiring(scene) == ["digits-run2-2"]


def test_what_a_serving_turned_back_is_not_kept() -> None:
    rejected = user(status={"rejected": [{"digest": digest_of(1)}]})
    scene = scene_of(*map(record, range(1, 5)), users=(rejected,))
    scene.act()
    assert expiring(scene) == ["digits-run1-1", "digits-run2-2"]


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_a_package_that_is_chosen_on_the_way_is_saved(passes: int) -> None:
    scene = scene_of(*map(record, range(1, 5)))
    for _ in range(passes):
        scene.act()
    scene.see(users=(user(status={"candidate": {"digest": digest_of(1)}}),))
    scene.act()
    assert expiring(scene) == ["digits-run2-2"]
    for _ in range(3):
        scene.wait(61)
        scene.act()
    assert [item.checkpoint for item in told(scene).expire] == ["digits-run2-2"]
    assert digest_of(1) in told(scene).kept_digests


def test_the_two_newest_that_passed_are_kept_behind_any_number_that_did_not() -> None:
    good, bad = [record(number) for number in (1, 2, 3)], [record(n, accuracy=0.1) for n in range(4, 9)]
    scene = scene_of(*good, *bad)
    scene.act()
    assert expiring(scene) == ["digits-run1-1", "digits-run4-4", "digits-run5-5", "digits-run6-6"]


def test_what_a_person_wrote_is_neither_counted_nor_touched() -> None:
    mine = [record(number) for number in (1, 2, 3)]
    theirs = checkpoint("by-hand", number=9, run="digits-run9", uri=f"{OUTPUT}/runs/digits-run9/attempts/9-pod")
    scene = scene_of(*mine, theirs.model_copy(update={"status": mine[0].status}))
    scene.act()
    assert expiring(scene) == ["digits-run1-1"]


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"creation_timestamp": NOW - timedelta(minutes=59)}},
        {"status": CheckpointStatus(verdict=record(1).status.verdict, serving=["shop"])},
        {"spec": {"uri": "pvc://elsewhere/digits/runs/digits-run1/attempts/1-pod"}},
    ],
    ids=["young", "serving", "at another output"],
)
def test_what_else_is_kept(change: dict[str, Any]) -> None:
    first = record(1)
    updates = {
        name: getattr(first, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in change.items()
    }
    items = [first.model_copy(update=updates), *map(record, range(2, 5))]
    scene = scene_of(*items)
    scene.act()
    assert expiring(scene) == ["digits-run2-2"] if "metadata" not in change else expiring(scene) != ["digits-run1-1"]


def test_nothing_expires_while_a_verdict_is_awaited() -> None:
    scene = scene_of(*map(record, range(1, 5)))
    scene.change(gate={"metrics": [{"name": "accuracy", "floor": 0.5}]})
    scene.act()
    assert expiring(scene) == []
    scene.judge()
    scene.act()
    assert expiring(scene) == ["digits-run1-1", "digits-run2-2"]


def test_nothing_expires_while_a_run_is_at_work_or_its_job_is_there() -> None:
    scene = scene_of(*map(record, range(1, 5)))
    scene.change(hyperparameters={"epochs": 9})
    scene.act()
    scene.see(pods=(pod(scene.job, "attempt-1", running()),))
    scene.act()
    assert expiring(scene) == []
    scene = scene_of(*map(record, range(1, 5)))
    job = live({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "digits-run1", "labels": {}}, "spec": {}})
    scene.see(jobs=(ended_job(job),))
    scene.act()
    assert expiring(scene) == ["digits-run2-2"]


def test_no_run_is_begun_while_packages_are_deleted() -> None:
    scene = scene_of(*map(record, range(1, 5)))
    for _ in range(3):
        scene.act()
        scene.wait(61)
    assert len(scene.view.collections) == 1
    scene.change(hyperparameters={"epochs": 9})
    scene.act()
    assert scene.view.jobs == ()
    end(scene, Collected(packages=["digits-run1-1", "digits-run2-2"]))
    assert scene.view.jobs == ()
    scene.act()
    assert len(scene.view.jobs) == 1


def test_a_failed_collection_is_told_and_tried_again_an_hour_later() -> None:
    scene = scene_of(*map(record, range(1, 5)))
    for _ in range(3):
        scene.act()
        scene.wait(61)
    first = name_of(scene.view.collections[0])
    end(scene, Collected(message="none of the 2 packages that are kept lies below it"), failed=True)
    assert [event.reason for event in scene.outcome.events] == ["CollectFailed"]
    assert expiring(scene) == ["digits-run1-1", "digits-run2-2"]
    assert scene.status.retention is not None
    assert "none of the 2 packages" in scene.status.retention.message
    scene.act()
    scene.forget("Job", first)
    assert [manifest["kind"] for manifest in scene.act().apply] == []
    scene.wait(PERIOD.total_seconds())
    scene.act()
    assert [name_of(job) for job in scene.view.collections] != [first]
    assert len(scene.view.collections) == 1


def test_going_back_to_a_run_whose_package_is_collected_trains_it_again() -> None:
    scene = scene_of(*map(record, range(1, 4)), keep=1)
    known = scene.view.training.status
    old = FinishedRun(name="digits-run1", phase=RunPhase.SUCCEEDED, checkpoint="digits-run1-1", completion_time=NOW)
    status = known.model_copy(update={"runs": [*known.runs, old]})
    scene.see(training=scene.view.training.model_copy(update={"status": status}))
    scene.act()
    assert {entry.name for entry in scene.status.runs} == {known.runs[0].name, "digits-run1"}
    scene.act()
    scene.act()
    assert [entry.name for entry in scene.status.runs] == [known.runs[0].name]


def test_what_ended_runs_left_is_collected_a_day_later_and_once() -> None:
    scene = scene_of(record(1))
    superseded = FinishedRun(name="digits-gone", phase=RunPhase.FAILED, reason="Superseded", completion_time=NOW)
    failed = FinishedRun(name="digits-bad", phase=RunPhase.FAILED, reason="RunFailed", completion_time=NOW)
    known = scene.view.training.status
    status = known.model_copy(update={"runs": [*known.runs, superseded, failed]})
    scene.see(training=scene.view.training.model_copy(update={"status": status}))
    scene.wait(LEFTOVERS.total_seconds() - 1)
    scene.act()
    assert scene.view.collections == ()
    scene.wait(1)
    scene.act()
    assert told(scene).over == sorted([known.runs[0].name, "digits-bad"])
    assert told(scene).expire == []
    end(scene, Collected())
    assert scene.outcome.events == ()
    scene.act()
    scene.see(collections=())
    scene.wait(10 * PERIOD.total_seconds())
    scene.act()
    assert scene.view.collections == ()
