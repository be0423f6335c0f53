"""What keeps a pod from running, and the field that mends it."""

from datetime import timedelta
from typing import Any

import pytest

from modelyard_operator.troubles import Fields, find_trouble, is_leaving, is_ready
from tests.support.objects import (
    NOW,
    Json,
    checkpoint,
    pod,
    ready_pod,
    running,
    serving,
    terminated,
    unschedulable,
    waiting,
)
from tests.unit.operator.serving.scene import Scene


@pytest.fixture
def deployment() -> Json:
    return dict(Scene(serving(), checkpoint()).act().apply[-1])


def trouble_of(item: Json, seconds: float = 0) -> Any:
    return find_trouble(item, "server", Fields(), NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("reason", "message", "told"),
    [
        ("ImagePullBackOff", "not found", "spec.image: the image registry.test/serving:1 cannot be pulled: not found"),
        ("ErrImagePull", "refused", "spec.image: the image registry.test/serving:1 cannot be pulled: refused"),
        ("InvalidImageName", "bad", "spec.image: the image registry.test/serving:1 cannot be pulled: bad"),
        (
            "CreateContainerConfigError",
            'secret "keys" not found',
            'spec.storage.secretNames: create the Secret keys: secret "keys" not found',
        ),
        ("CreateContainerConfigError", "odd", "spec.storage: odd"),
        ("StartError", "no such file", "spec.command: the container cannot be started: no such file"),
    ],
)
def test_a_container_that_cannot_start_names_the_field(deployment: Json, reason: str, message: str, told: str) -> None:
    trouble = trouble_of(pod(deployment, "a", waiting(reason, message), container="server"))
    assert (trouble.reason, trouble.message, trouble.stuck) == (reason, told, True)


def test_a_missing_claim_is_told_at_once(deployment: Json) -> None:
    message = '0/1 nodes are available: persistentvolumeclaim "models" not found.'
    trouble = trouble_of(pod(deployment, "a", **unschedulable(message)))
    assert trouble.stuck
    assert "there is no PersistentVolumeClaim models" in trouble.message


def test_a_pod_without_a_node_is_given_time(deployment: Json) -> None:
    item = pod(deployment, "a", **unschedulable("0/1 nodes are available: 1 Insufficient cpu."))
    early, late = trouble_of(item), trouble_of(item, seconds=300)
    assert (early.stuck, late.stuck) == (False, True)
    assert early.until == NOW + timedelta(minutes=5)
    assert "Insufficient cpu" in early.message
    assert "spec.resources" in early.message


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ({"exitCode": 1, "message": "features.json: wrong digest"}, "features.json: wrong digest"),
        ({"exitCode": 3, "reason": "Error"}, "the container ends with Error (exit code 3)"),
        (
            {"exitCode": 137, "reason": "OOMKilled"},
            "the container ends with OOMKilled (exit code 137): raise spec.resources.limits.memory",
        ),
    ],
)
def test_a_crash_is_told_in_its_own_words(deployment: Json, ended: Json, told: str) -> None:
    item = pod(deployment, "a", waiting("CrashLoopBackOff"), container="server")
    item["status"]["containerStatuses"][0]["lastState"] = {"terminated": ended}
    assert trouble_of(item).message == told


def test_one_crash_may_heal_and_a_second_is_told(deployment: Json) -> None:
    item = pod(deployment, "a", running(), container="server")
    state = item["status"]["containerStatuses"][0]
    state["lastState"] = {"terminated": {"exitCode": 1, "message": "store not reachable"}}
    state["restartCount"] = 1
    assert not trouble_of(item).stuck
    state["restartCount"] = 2
    assert trouble_of(item).stuck


def test_a_pod_that_runs_or_leaves_has_no_trouble(deployment: Json) -> None:
    leaving = pod(deployment, "b", waiting("ImagePullBackOff"), container="server")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    starting = pod(deployment, "c", waiting("ContainerCreating"), container="server")
    for item in (ready_pod(deployment, "a"), leaving, starting, pod(deployment, "d")):
        assert trouble_of(item) is None


def test_a_leaving_pod_is_not_ready(deployment: Json) -> None:
    item = ready_pod(deployment, "a")
    assert (is_ready(item), is_leaving(item)) == (True, False)
    item["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    assert (is_ready(item), is_leaving(item)) == (False, True)
    assert is_leaving(pod(deployment, "b", terminated(0), container="server"))
