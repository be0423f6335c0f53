"""Changes of what serves, pass by pass."""

from typing import Any

import pytest

from modelyard.contract.meta import ConditionType
from modelyard.contract.serving import ServingPhase, ServingStatus
from modelyard_operator.outcome import Outcome
from tests.support.objects import checkpoint, serving, waiting
from tests.unit.operator.serving.scene import Scene, serve

NEW = checkpoint("digits-2", number=2, age=10)


def reasons(outcome: Outcome) -> list[str]:
    return [event.reason for event in outcome.events]


def test_the_first_revision_comes_up_at_once_and_serves_when_all_its_pods_are_ready() -> None:
    scene = Scene(serving(), checkpoint())
    assert reasons(scene.act()) == ["RolloutStarted"]
    assert list(scene.sizes.values()) == [3]
    assert (scene.status.phase, scene.status.ready, scene.status.stable) == (ServingPhase.STARTING, "0/3", None)
    scene.ready(2)
    scene.act()
    assert scene.told(ConditionType.READY)[:2] == ("False", "Starting")
    scene.ready()
    assert reasons(scene.act()) == ["RolloutComplete"]
    assert (scene.status.phase, scene.status.ready, scene.status.candidate) == (ServingPhase.SERVING, "3/3", None)
    assert scene.told(ConditionType.READY)[:2] == ("True", "Serving")


def test_the_status_names_the_model_that_serves() -> None:
    stable = serve(serving(), checkpoint(run="digits-1a2b3c4d")).status.stable
    assert stable is not None
    assert (stable.checkpoint, stable.run, stable.metrics) == ("digits-1", "digits-1a2b3c4d", {"accuracy": 0.97})
    assert (stable.replicas, stable.ready_replicas) == (3, 3)


def test_the_scale_subresource_has_what_it_needs() -> None:
    status = serve(serving()).status
    assert (status.replicas, status.ready_replicas, status.selector) == (3, 3, "modelyard.dev/serving=digits")
    assert status.url == "http://digits.team.svc"


def test_at_rest_a_pass_changes_nothing() -> None:
    scene = serve(serving())
    before = scene.status
    scene.wait(3600)
    outcome = scene.act()
    assert scene.status == before
    assert (outcome.delete, outcome.events, outcome.requeue_after) == ((), (), None)


def test_a_new_checkpoint_is_brought_in_and_the_old_one_leaves() -> None:
    scene = serve(serving())
    old = scene.stable
    scene.publish(NEW)
    outcome = scene.act()
    assert reasons(outcome) == ["RolloutStarted"]
    assert outcome.requeue_after == 600.0
    new = scene.candidate
    assert scene.sizes == {old: 3, new: 1}
    assert (scene.status.phase, scene.status.weight) == (ServingPhase.ROLLING, "0%")
    assert scene.told(ConditionType.AVAILABLE)[0] == "True"
    assert scene.told(ConditionType.READY)[:2] == ("False", "RollingOut")
    assert scene.told(ConditionType.RECONCILING)[0] == "True"
    scene.ready()
    scene.act()
    assert scene.status.weight == "25%"
    scene.settle()
    assert (scene.sizes, scene.stable) == ({new: 3}, new)
    assert scene.told(ConditionType.READY)[0] == "True"
    assert scene.status.stable is not None
    assert scene.status.stable.checkpoint == "digits-2"
    assert scene.status.rollout is None


@pytest.mark.parametrize("spec", [{"image": "own:2"}, {"resources": {"limits": {"memory": "1Gi"}}}])
def test_every_change_that_reaches_pods_takes_the_same_road(spec: dict[str, Any]) -> None:
    scene = serve(serving())
    old = scene.stable
    scene.change(**spec)
    scene.act()
    assert scene.sizes[old] == 3
    scene.settle()
    assert scene.stable != old
    assert list(scene.sizes.values()) == [3]


def test_scaling_touches_the_size_alone() -> None:
    scene = serve(serving())
    name = scene.stable
    scene.change(replicas=5)
    scene.act()
    assert scene.sizes == {name: 5}
    assert (scene.status.ready, scene.status.phase) == ("3/5", ServingPhase.STARTING)
    scene.settle()
    assert scene.status.ready == "5/5"
    scene.change(replicas=0)
    scene.act()
    scene.act()
    assert scene.sizes == {name: 0}
    assert scene.told(ConditionType.READY)[:2] == ("True", "ScaledToZero")


def test_a_serving_of_no_pods_takes_a_new_model_without_starting_any() -> None:
    scene = serve(serving(replicas=0))
    old = scene.stable
    scene.publish(NEW)
    scene.act()
    scene.settle()
    assert scene.stable != old
    assert list(scene.sizes.values()) == [0]


def test_a_scale_during_a_rollout_is_followed_at_once() -> None:
    scene = serve(serving())
    scene.publish(NEW)
    scene.act()
    scene.ready()
    scene.change(replicas=6)
    scene.act()
    assert sum(scene.sizes.values()) >= 6
    scene.settle()
    assert list(scene.sizes.values()) == [6]


def test_a_third_spec_on_the_way_replaces_the_second() -> None:
    scene = serve(serving())
    scene.publish(NEW)
    scene.act()
    scene.ready()
    scene.act()
    second = scene.candidate
    scene.publish(checkpoint("digits-3", number=3, age=1))
    scene.act()
    assert scene.candidate != second
    assert scene.status.ready_replicas >= 3
    scene.settle()
    assert scene.status.stable is not None
    assert scene.status.stable.checkpoint == "digits-3"
    assert list(scene.sizes.values()) == [3]


def test_going_back_on_the_way_keeps_the_stable_revision() -> None:
    scene = serve(serving())
    old = scene.stable
    scene.change(image="own:2")
    scene.act()
    scene.ready()
    scene.act()
    scene.change(image=None)
    scene.settle()
    assert (scene.stable, scene.sizes) == (old, {old: 3})


def reject(scene: Scene, state: dict[str, Any] | None = None) -> str:
    """Let the candidate run out of time; return its name."""
    scene.act()
    name = scene.candidate
    scene.breaks(name, state or waiting("ImagePullBackOff", "not found"))
    scene.act()
    scene.wait(601)
    scene.act()
    return name


def test_a_candidate_out_of_time_is_rejected_and_the_stable_one_was_never_touched() -> None:
    scene = serve(serving())
    old = scene.stable
    scene.publish(NEW)
    name = reject(scene)
    assert reasons(scene.outcome) == ["RevisionRejected"]
    rejected = scene.status.rejected[0]
    assert (rejected.name, rejected.reason) == (name, "ImagePullBackOff")
    assert "spec.image: the image registry.test/serving:1 cannot be pulled: not found" in rejected.message
    scene.settle()
    assert scene.sizes == {old: 3}
    assert scene.told(ConditionType.STALLED)[:2] == ("True", "RevisionRejected")
    assert scene.told(ConditionType.AVAILABLE)[0] == "True"
    assert scene.status.phase == ServingPhase.DEGRADED


def test_a_rejection_that_a_crash_kept_from_the_status_is_reached_again() -> None:
    scene = serve(serving())
    old = scene.stable
    scene.publish(NEW)
    scene.act()
    scene.breaks(scene.candidate, waiting("ImagePullBackOff"))
    scene.act()
    before = scene.view.serving
    scene.wait(601)
    scene.act()
    scene.see(serving=before)
    scene.act()
    assert [item.reason for item in scene.status.rejected] == ["ProgressDeadlineExceeded"]
    scene.settle()
    assert scene.sizes == {old: 3}


def test_pods_that_are_not_admitted_are_told() -> None:
    scene = Scene(serving(), checkpoint())
    scene.act()
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=10"}
    (deployment,) = scene.view.deployments
    scene.see(deployments=({**deployment, "status": {"conditions": [failure]}},), pods=())
    scene.act()
    assert "exceeded quota: pods=10" in scene.told(ConditionType.STALLED)[2]


def test_a_rejected_revision_is_not_tried_again_until_it_is_another() -> None:
    scene = serve(serving())
    old = scene.stable
    scene.publish(NEW)
    name = reject(scene)
    scene.settle()
    scene.wait(86_400)
    scene.act()
    assert scene.sizes == {old: 3}
    scene.publish(checkpoint("digits-3", number=3, age=1))
    scene.act()
    scene.settle()
    assert name not in scene.sizes
    assert scene.told(ConditionType.READY)[0] == "True"


def test_a_rejected_model_is_tried_again_when_a_person_says_so() -> None:
    scene = serve(serving())
    scene.publish(NEW)
    reject(scene)
    scene.settle()
    scene.broken.clear()
    scene.change(annotations={"modelyard.dev/restart": "2"})
    scene.act()
    scene.settle()
    assert scene.status.stable is not None
    assert scene.status.stable.checkpoint == "digits-2"
    assert scene.told(ConditionType.STALLED)[0] == "False"


def test_a_half_ready_candidate_goes_without_a_gap() -> None:
    scene = serve(serving(replicas=4))
    scene.publish(NEW)
    scene.act()
    for _ in range(4):
        scene.ready()
        scene.act()
    assert scene.sizes[scene.candidate] == 3
    scene.change(rollout={"progressDeadlineSeconds": 5})
    scene.act()
    scene.wait(6)
    for _ in range(30):
        scene.act()
        assert scene.status.ready_replicas >= 4
        assert scene.status.replicas <= 5
        scene.ready()
        if scene.status.candidate is None and len(scene.deployments) == 1:
            break
    assert list(scene.sizes.values()) == [4]


def test_a_pod_that_comes_and_goes_is_no_progress() -> None:
    scene = serve(serving())
    scene.publish(NEW)
    scene.act()
    scene.ready()
    scene.act()
    started = scene.status.rollout
    assert started is not None
    assert started.peak_ready == 1
    scene.wait(60)
    pods = [item for item in scene.view.pods if item["metadata"]["labels"]["modelyard.dev/revision"] != scene.candidate]
    scene.see(pods=tuple(pods))
    scene.act()
    scene.wait(60)
    scene.act()
    scene.ready()
    scene.act()
    assert scene.status.rollout is not None
    assert scene.status.rollout.progressed == started.progressed


def test_a_first_revision_is_never_given_up() -> None:
    scene = Scene(serving(), checkpoint())
    scene.act()
    name = scene.candidate
    message = 'secret "keys" not found'
    scene.breaks(name, waiting("CreateContainerConfigError", message))
    scene.act()
    status, _, told = scene.told(ConditionType.STALLED)
    assert status == "True"
    assert "spec.storage.secretNames: create the Secret keys" in told
    scene.wait(3600)
    scene.act()
    assert scene.told(ConditionType.STALLED)[:2] == ("True", "ProgressDeadlineExceeded")
    assert scene.status.rejected == []
    scene.broken.clear()
    scene.settle()
    assert scene.told(ConditionType.READY)[0] == "True"


def test_a_broken_package_tells_its_own_words() -> None:
    scene = Scene(serving(), checkpoint())
    scene.act()
    name = scene.candidate
    scene.breaks(name, waiting("CrashLoopBackOff"))
    words = {"exitCode": 1, "message": "model.tflite: its SHA-256 differs from the manifest's"}
    pods = [dict(item) for item in scene.view.pods]
    for item in pods:
        item["status"]["containerStatuses"][0]["lastState"] = {"terminated": words}
    scene.see(pods=tuple(pods))
    scene.act()
    assert "its SHA-256 differs" in scene.told(ConditionType.STALLED)[2]


def test_a_lost_status_is_concluded_from_what_is_ready() -> None:
    scene = serve(serving())
    name = scene.stable
    scene.see(serving=scene.view.serving.model_copy(update={"status": ServingStatus()}))
    outcome = scene.act()
    assert (scene.stable, scene.sizes, outcome.delete) == (name, {name: 3}, ())
    assert scene.told(ConditionType.READY)[0] == "True"


def test_a_status_lost_during_a_rollout_costs_no_pod() -> None:
    scene = serve(serving())
    old = scene.stable
    scene.publish(NEW)
    scene.act()
    scene.ready()
    scene.act()
    scene.see(serving=scene.view.serving.model_copy(update={"status": ServingStatus()}))
    scene.act()
    assert scene.stable == old
    assert scene.status.ready_replicas >= 3
    scene.settle()
    assert list(scene.sizes.values()) == [3]


def test_a_stable_deployment_lost_during_a_rollout_leaves_the_candidate_to_serve() -> None:
    scene = serve(serving())
    old = scene.stable
    scene.publish(NEW)
    scene.act()
    scene.ready()
    scene.act()
    scene.lose(old)
    scene.settle()
    assert old not in scene.sizes
    assert list(scene.sizes.values()) == [3]


def test_the_surge_is_a_quarter_unless_the_spec_says_otherwise() -> None:
    plain, wide = serve(serving(replicas=8)), serve(serving(replicas=8, rollout={"maxSurge": 5}))
    for scene in (plain, wide):
        scene.publish(NEW)
        scene.act()
    assert (plain.sizes[plain.candidate], wide.sizes[wide.candidate]) == (2, 5)
