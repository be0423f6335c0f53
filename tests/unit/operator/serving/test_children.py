"""What a serving's children are, whole."""

from typing import Any

from tests.support.golden import Golden
from tests.support.objects import checkpoint, digest_of, serving
from tests.unit.operator.serving.scene import Scene, serve


def test_the_children_of_a_followed_training_are_as_recorded(golden: Golden) -> None:
    scene = Scene(serving(), checkpoint(run="digits-1a2b3c4d"))
    golden.objects("serving/training.yaml", *scene.act().apply)


def test_the_children_of_an_address_are_as_recorded(golden: Golden) -> None:
    spec: dict[str, Any] = {
        "model": {"uri": "s3://bucket/models/1", "digest": digest_of(7)},
        "image": "registry.test/own:3",
        "storage": {"secretNames": ["bucket-keys"]},
        "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "512Mi"}},
        "nodeSelector": {"disk": "fast"},
        "rollout": {"drainSeconds": 12},
    }
    golden.objects("serving/address.yaml", *Scene(serving(**spec)).act().apply)


def test_the_address_stands_before_there_is_a_model() -> None:
    kinds = [manifest["kind"] for manifest in Scene(serving()).act().apply]
    assert kinds == ["Service", "PodDisruptionBudget"]


def test_the_serving_revision_is_asked_for_in_full_in_every_pass() -> None:
    scene = serve(serving())
    first, second = scene.act(), scene.act()
    assert first.apply == second.apply
    assert [manifest["kind"] for manifest in first.apply] == ["Service", "PodDisruptionBudget", "Deployment"]


def test_a_lost_deployment_is_made_again() -> None:
    scene = serve(serving())
    name = scene.stable
    scene.lose(name)
    scene.act()
    assert scene.sizes == {name: 3}
    scene.settle()
    assert scene.stable == name
