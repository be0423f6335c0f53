"""What a checkpoint tells."""

from modelyard.contract.checkpoint import CheckpointStatus, ModelCheckpoint
from modelyard.contract.meta import ConditionType
from modelyard.contract.serving import Revision, ServingStatus
from modelyard.contract.training import ModelTraining
from modelyard_operator.checkpoint import conclude
from modelyard_operator.conditions import find
from modelyard_operator.outcome import CheckpointView, Outcome
from tests.support.golden import Golden
from tests.support.objects import NOW, checkpoint, digest_of, serving, training

GATE = {"metrics": [{"name": "accuracy", "floor": 0.95}]}


def judge(item: ModelCheckpoint, by: ModelTraining | None = None) -> Outcome:
    return conclude(CheckpointView(item, by), NOW)


def status_of(outcome: Outcome) -> CheckpointStatus:
    return CheckpointStatus.model_validate(outcome.status.document())


def told(outcome: Outcome, kind: ConditionType) -> tuple[str, str]:
    condition = find(status_of(outcome).conditions, kind)
    assert condition is not None
    return condition.status, condition.reason


def test_a_verdict_is_as_recorded(golden: Golden) -> None:
    outcome = judge(checkpoint(metrics={"loss": 0.3, "accuracy": 0.91}), training(gate=GATE))
    golden.objects("checkpoint/failed.yaml", outcome.status.document())


def test_a_passed_checkpoint_is_ready_and_passed() -> None:
    outcome = judge(checkpoint(), training(gate=GATE))
    assert told(outcome, ConditionType.READY) == ("True", "GatePassed")
    assert told(outcome, ConditionType.PASSED) == ("True", "GatePassed")
    assert (status_of(outcome).gate, status_of(outcome).headline) == ("Passed", "accuracy=0.97")
    assert [event.type for event in outcome.events] == ["Normal"]


def test_a_failed_checkpoint_is_judged_and_warns() -> None:
    outcome = judge(checkpoint(metrics={"accuracy": 0.9}), training(gate=GATE))
    assert told(outcome, ConditionType.READY) == ("True", "GateFailed")
    assert told(outcome, ConditionType.PASSED) == ("False", "GateFailed")
    assert [(event.type, event.reason) for event in outcome.events] == [("Warning", "GateFailed")]


def test_another_gate_judges_anew() -> None:
    first = judge(checkpoint(metrics={"accuracy": 0.9}), training(gate=GATE))
    seen = checkpoint(metrics={"accuracy": 0.9}, status=status_of(first))
    again = judge(seen, training(gate={"metrics": [{"name": "accuracy", "floor": 0.85}]}))
    assert told(again, ConditionType.PASSED) == ("True", "GatePassed")


def test_the_same_gate_judges_the_same_and_says_it_once() -> None:
    first = judge(checkpoint(), training(gate=GATE))
    again = judge(checkpoint(status=status_of(first)), training(gate=GATE))
    assert status_of(again) == status_of(first)
    assert again.events == ()


def test_a_checkpoint_made_by_hand_is_not_gated() -> None:
    outcome = judge(checkpoint(training=None))
    assert told(outcome, ConditionType.PASSED) == ("Unknown", "NotGated")
    assert told(outcome, ConditionType.READY) == ("True", "NotGated")
    assert (status_of(outcome).gate, status_of(outcome).verdict) == ("NotGated", None)


def test_a_checkpoint_whose_training_is_gone_has_no_verdict() -> None:
    passed = judge(checkpoint(), training(gate=GATE))
    outcome = judge(checkpoint(status=status_of(passed)))
    assert told(outcome, ConditionType.READY) == ("False", "TrainingNotFound")
    assert status_of(outcome).verdict is None


def test_it_is_told_where_the_checkpoint_serves() -> None:
    def using(name: str, number: int) -> Revision:
        return Revision(name=f"{name}-1", checkpoint="digits-1", digest=digest_of(number), uri="pvc://models/digits/1")

    servings = (
        serving("as-candidate", status=ServingStatus(candidate=using("as-candidate", 1))),
        serving("another-package", status=ServingStatus(stable=using("another-package", 2))),
        serving("as-stable", status=ServingStatus(stable=using("as-stable", 1))),
        serving("not-at-all"),
    )
    outcome = conclude(CheckpointView(checkpoint(), training(), servings), NOW)
    assert status_of(outcome).serving == ["as-candidate", "as-stable"]
