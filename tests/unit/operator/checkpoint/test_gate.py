"""The gate: what passes, what does not, and what is said about it."""

import math

import pytest

from modelyard.contract.training import Gate, MetricThreshold
from modelyard_operator.checkpoint.gate import evaluate, gate_hash, recency, summarise
from tests.support.objects import checkpoint


def gate(**threshold: float) -> Gate:
    return Gate(metrics=[MetricThreshold(name="accuracy", **threshold)])


@pytest.mark.parametrize("value", [0.95, 0.96, 1.0])
def test_a_value_on_or_above_the_floor_passes(value: float) -> None:
    assert evaluate(gate(floor=0.95), {"accuracy": value}).passed


@pytest.mark.parametrize("value", [0.1, 0.0, -5.0])
def test_a_value_on_or_below_the_ceiling_passes(value: float) -> None:
    assert evaluate(gate(ceiling=0.1), {"accuracy": value}).passed


@pytest.mark.parametrize(
    ("thresholds", "metrics", "told"),
    [
        ({"floor": 0.95}, {"accuracy": 0.91}, "accuracy 0.91 is below the floor 0.95"),
        ({"ceiling": 0.2}, {"accuracy": 0.3}, "accuracy 0.3 is above the ceiling 0.2"),
        ({"floor": 0.95}, {"accuracy": 0.949999}, "accuracy 0.949999 is below the floor 0.95"),
        ({"floor": 0.95}, {}, "accuracy was not published"),
        ({"floor": 0.95}, {"loss": 0.1}, "accuracy was not published"),
        ({"floor": 0.95}, {"accuracy": math.nan}, "accuracy is not a number"),
        ({"floor": 0.95}, {"accuracy": math.inf}, "accuracy is not a number"),
        ({"ceiling": 0.95}, {"accuracy": -math.inf}, "accuracy is not a number"),
        ({"floor": 0.1, "ceiling": 0.2}, {"accuracy": 0.3}, "accuracy 0.3 is above the ceiling 0.2"),
    ],
)
def test_anything_else_fails_and_says_why(thresholds: dict[str, float], metrics: dict[str, float], told: str) -> None:
    verdict = evaluate(gate(**thresholds), metrics)
    assert not verdict.passed
    assert [check.message for check in verdict.checks] == [told]
    assert summarise(verdict) == f"Failed: {told}"


def test_every_threshold_must_hold_and_each_is_told() -> None:
    both = Gate(metrics=[MetricThreshold(name="accuracy", floor=0.9), MetricThreshold(name="loss", ceiling=0.1)])
    verdict = evaluate(both, {"accuracy": 0.95, "loss": 0.2})
    assert [(check.name, check.passed) for check in verdict.checks] == [("accuracy", True), ("loss", False)]
    assert not verdict.passed


def test_a_gate_without_thresholds_passes() -> None:
    assert summarise(evaluate(Gate(), {})) == "Passed"


def test_a_verdict_is_bound_to_its_gate() -> None:
    hashes = {gate_hash(item) for item in (Gate(), gate(floor=0.9), gate(floor=0.91), gate(ceiling=0.9))}
    assert len(hashes) == 4


def test_a_summary_fits_its_field() -> None:
    metrics = [MetricThreshold(name=f"metric{number}", floor=1) for number in range(32)]
    assert len(summarise(evaluate(Gate(metrics=metrics), {}))) == 256


def test_age_is_creation_then_step() -> None:
    given = [checkpoint("a", number=1, age=5), checkpoint("b", number=9, age=9), checkpoint("c", number=2, age=5)]
    assert [item.metadata.name for item in sorted(given, key=recency)] == ["b", "a", "c"]
