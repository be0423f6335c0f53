"""The gate: a chain of named pure checks for each threshold, evaluated to the first that fails; fails closed."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime

from modelyard.contract.checkpoint import CheckResult, ModelCheckpoint, Verdict
from modelyard.contract.training import Gate, MetricThreshold
from modelyard_operator.conditions import clip
from modelyard_operator.pods import fingerprint

__all__ = ["CHECKS", "applies", "describe_number", "evaluate", "gate_hash", "passed", "recency", "summarise"]

#: What is wrong with a value, or None.
Check = Callable[[MetricThreshold, float | None], str | None]


def check_present(threshold: MetricThreshold, value: float | None) -> str | None:
    """Refuse a metric that was not published."""
    return f"{threshold.name} was not published" if value is None else None


def check_finite(threshold: MetricThreshold, value: float | None) -> str | None:
    """Refuse NaN and infinities: they compare with nothing."""
    finite = value is not None and math.isfinite(value)
    return None if finite else f"{threshold.name} is not a number"


def check_floor(threshold: MetricThreshold, value: float | None) -> str | None:
    """Refuse a value below the floor."""
    if threshold.floor is None or (value is not None and value >= threshold.floor):
        return None
    return f"{threshold.name} {_compared(value, threshold.floor)} is below the floor {describe_number(threshold.floor)}"


def check_ceiling(threshold: MetricThreshold, value: float | None) -> str | None:
    """Refuse a value above the ceiling."""
    if threshold.ceiling is None or (value is not None and value <= threshold.ceiling):
        return None
    limit = describe_number(threshold.ceiling)
    return f"{threshold.name} {_compared(value, threshold.ceiling)} is above the ceiling {limit}"


#: In order: each may rely on those before it.
CHECKS: tuple[Check, ...] = (
    check_present,  # the script published the metric
    check_finite,  # it can be compared
    check_floor,  # not worse than allowed, where more is better
    check_ceiling,  # not worse than allowed, where less is better
)


def gate_hash(gate: Gate) -> str:
    """Return what binds a verdict to the gate that made it."""
    return fingerprint(gate.document(), 16)


def evaluate(gate: Gate, metrics: Mapping[str, float]) -> Verdict:
    """Return the verdict on published metrics. A gate without thresholds passes."""
    checks = [_result(threshold, metrics.get(threshold.name)) for threshold in gate.metrics]
    return Verdict(passed=all(check.passed for check in checks), gate=gate_hash(gate), checks=checks)


def applies(checkpoint: ModelCheckpoint, gate: Gate) -> bool:
    """Return whether the checkpoint's verdict was made by this gate."""
    verdict = checkpoint.status.verdict
    return verdict is not None and verdict.gate == gate_hash(gate)


def passed(checkpoint: ModelCheckpoint, gate: Gate) -> bool:
    """Return whether the checkpoint passed this very gate."""
    verdict = checkpoint.status.verdict
    return verdict is not None and verdict.passed and applies(checkpoint, gate)


def recency(checkpoint: ModelCheckpoint) -> tuple[float, int, str]:
    """Return the sort key of age: creation, then step; the name only breaks ties the same way everywhere."""
    created: datetime | None = checkpoint.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, checkpoint.spec.step, checkpoint.metadata.name)


def summarise(verdict: Verdict) -> str:
    """Return the verdict in one line for people."""
    failures = [check.message for check in verdict.checks if not check.passed]
    return "Passed" if verdict.passed else clip(f"Failed: {'; '.join(failures)}", 256)


def describe_number(value: float) -> str:
    """Return a number in few digits."""
    return f"{value:.4g}"


def _result(threshold: MetricThreshold, value: float | None) -> CheckResult:
    problems = (check(threshold, value) for check in CHECKS)
    problem = next((text for text in problems if text), None)
    message = problem or f"{threshold.name} {describe_number(value or 0.0)} holds"
    return CheckResult(name=threshold.name, passed=problem is None, message=clip(message, 512))


def _compared(value: float | None, limit: float) -> str:
    """Return a value in as many digits as tell it from the limit."""
    short = describe_number(value or 0.0)
    return repr(value) if short == describe_number(limit) else short
