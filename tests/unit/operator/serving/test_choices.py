"""What is chosen to be served, and what is not."""

from typing import Any

import pytest

from modelyard.contract.meta import ConditionType
from modelyard.contract.serving import ServingPhase
from modelyard.contract.training import TrainingPhase, TrainingStatus
from tests.support.objects import DEFAULTS, checkpoint, digest_of, serving, training
from tests.unit.operator.serving.scene import Scene, serve

GATE = {"metrics": [{"name": "accuracy", "floor": 0.95}]}
BAD = {"accuracy": 0.9}


def served(scene: Scene) -> str | None:
    assert scene.status.stable is not None
    return scene.status.stable.checkpoint


def test_the_newest_passed_checkpoint_is_served() -> None:
    given = [checkpoint(f"digits-{number}", number=number, age=100 - number) for number in (1, 3, 2)]
    assert served(serve(serving(), *given)) == "digits-3"


def test_of_two_made_at_the_same_time_the_later_step_is_served() -> None:
    given = [checkpoint("digits-a", number=9), checkpoint("digits-b", number=10)]
    assert served(serve(serving(), *given)) == "digits-b"


def test_a_checkpoint_that_failed_the_gate_leaves_the_service_untouched() -> None:
    scene = serve(serving(), by=training(gate=GATE))
    before = (scene.sizes, scene.status)
    scene.publish(checkpoint("digits-2", number=2, age=1, metrics=BAD))
    scene.act()
    assert (scene.sizes, scene.status) == before


def test_a_checkpoint_without_a_verdict_waits_for_it() -> None:
    scene = serve(serving())
    new = checkpoint("digits-2", number=2, age=1)
    scene.see(checkpoints=(*scene.view.checkpoints, new))
    scene.act()
    assert served(scene) == "digits-1"
    assert scene.status.candidate is None
    scene.publish()
    scene.act()
    assert scene.status.candidate is not None


def test_nothing_passed_waits_and_says_why() -> None:
    scene = Scene(serving(), checkpoint(metrics=BAD), by=training(gate=GATE))
    scene.act()
    assert scene.status.phase == ServingPhase.WAITING
    status, reason, message = scene.told(ConditionType.READY)
    assert (status, reason) == ("False", "NoPassedCheckpoint")
    assert "accuracy 0.9 is below the floor 0.95" in message
    assert scene.told(ConditionType.RECONCILING)[0] == "True"


def test_a_broken_training_leaves_the_serving_ready() -> None:
    scene = serve(serving())
    before = (scene.sizes, scene.status)
    scene.see(training=training(status=TrainingStatus(phase=TrainingPhase.FAILED)))
    scene.act()
    assert (scene.sizes, scene.status) == before
    assert scene.told(ConditionType.READY)[0] == "True"


def test_a_missing_training_is_waited_for_and_then_told() -> None:
    scene = Scene(serving())
    scene.see(training=None)
    outcome = scene.act()
    assert outcome.requeue_after == 30.0
    assert scene.told(ConditionType.RECONCILING)[:2] == ("True", "ModelNotFound")
    scene.wait(31)
    scene.act()
    assert scene.told(ConditionType.STALLED) == (
        "True",
        "ModelNotFound",
        "spec.model.training: there is no ModelTraining digits in this namespace",
    )


def test_a_training_that_vanishes_takes_no_pod_with_it() -> None:
    scene = serve(serving())
    sizes = scene.sizes
    scene.wait(60)
    scene.see(training=None, checkpoints=())
    scene.act()
    scene.settle()
    assert scene.sizes == sizes
    assert scene.told(ConditionType.AVAILABLE)[0] == "True"
    assert scene.told(ConditionType.STALLED)[:2] == ("True", "ModelNotFound")


@pytest.mark.parametrize("source", [{"training": "digits"}, {"checkpoint": "digits-1"}])
def test_a_checkpoint_of_another_namespace_is_never_used(source: dict[str, Any]) -> None:
    scene = Scene(serving(model=source), checkpoint())
    foreign = scene.view.checkpoints[0]
    metadata = foreign.metadata.model_copy(update={"namespace": "other"})
    scene.see(checkpoints=(foreign.model_copy(update={"metadata": metadata}),))
    scene.act()
    assert scene.deployments == {}


def test_a_pinned_checkpoint_is_served_also_when_a_newer_one_passes() -> None:
    scene = serve(serving(model={"checkpoint": "digits-1"}))
    scene.publish(checkpoint("digits-2", number=2, age=1))
    scene.act()
    assert (served(scene), scene.status.candidate) == ("digits-1", None)


def test_a_pinned_checkpoint_made_by_hand_needs_no_gate() -> None:
    assert served(serve(serving(model={"checkpoint": "mine"}), checkpoint("mine", training=None))) == "mine"


def test_a_pinned_checkpoint_that_failed_its_gate_is_refused() -> None:
    scene = Scene(serving(model={"checkpoint": "digits-1"}), checkpoint(metrics=BAD), by=training(gate=GATE))
    scene.act()
    assert scene.deployments == {}
    status, reason, message = scene.told(ConditionType.STALLED)
    assert (status, reason) == ("True", "CheckpointFailedGate")
    assert "spec.model.checkpoint" in message


def test_pinning_a_refused_checkpoint_keeps_what_serves() -> None:
    scene = serve(serving(), by=training(gate=GATE))
    sizes = scene.sizes
    scene.publish(checkpoint("digits-2", number=2, age=1, metrics=BAD))
    scene.change(model={"checkpoint": "digits-2"})
    scene.act()
    scene.settle()
    assert scene.sizes == sizes
    assert scene.told(ConditionType.STALLED)[1] == "CheckpointFailedGate"


def test_paused_holds_the_model_but_also_the_count() -> None:
    scene = serve(serving())
    name = scene.stable
    scene.change(paused=True, replicas=4)
    scene.publish(checkpoint("digits-2", number=2, age=1))
    scene.act()
    scene.settle()
    assert scene.sizes == {name: 4}
    assert scene.status.phase == ServingPhase.PAUSED
    assert scene.told(ConditionType.READY)[:2] == ("True", "Paused")
    scene.change(paused=False)
    scene.act()
    assert scene.status.candidate is not None


def test_paused_during_a_rollout_it_rests_and_its_time_does_not_run_out() -> None:
    scene = serve(serving())
    scene.publish(checkpoint("digits-2", number=2, age=1))
    scene.act()
    scene.ready()
    scene.act()
    sizes = scene.sizes
    scene.change(paused=True)
    scene.wait(86_400)
    scene.act()
    assert scene.sizes == sizes
    scene.change(paused=False)
    scene.act()
    assert scene.status.rejected == []
    scene.settle()
    assert served(scene) == "digits-2"


def test_a_new_default_image_is_a_new_revision() -> None:
    scene = serve(serving())
    old = scene.stable
    scene.see(defaults=type(scene.view.defaults)("training:2", "serving:2", "serving-tensorflow:2"))
    scene.act()
    assert scene.sizes[old] == 3
    scene.settle()
    assert scene.stable != old


def image_of(scene: Scene, name: str) -> str:
    return str(scene.deployments[name]["spec"]["template"]["spec"]["containers"][0]["image"])


def test_a_model_that_litert_cannot_hold_gets_the_image_with_tensorflow() -> None:
    scene = serve(serving())
    assert image_of(scene, scene.stable) == DEFAULTS.serving_image
    scene.publish(checkpoint("digits-2", number=2, age=10, runtime="TensorFlow"))
    scene.settle()
    assert served(scene) == "digits-2"
    assert image_of(scene, scene.stable) == DEFAULTS.serving_tensorflow_image
    # a lost Deployment is made anew from the record, the checkpoint may be gone by then
    name = scene.stable
    scene.change(paused=True)
    scene.act()
    scene.deployments.clear()
    scene.see(checkpoints=(), deployments=())
    scene.act()
    assert image_of(scene, name) == DEFAULTS.serving_tensorflow_image


def test_the_spec_says_which_runtime_an_address_or_a_pinned_variant_needs() -> None:
    address = {"uri": "s3://bucket/models/1", "digest": digest_of(7)}
    scene = Scene(serving(model=address, runtime="TensorFlow", variant="saved-model"))
    scene.settle()
    assert image_of(scene, scene.stable) == DEFAULTS.serving_tensorflow_image
    scene.change(runtime=None, variant=None)
    scene.settle()
    assert image_of(scene, scene.stable) == DEFAULTS.serving_image
