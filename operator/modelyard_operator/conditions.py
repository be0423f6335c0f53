"""Conditions: findings of a pass become `metav1.Condition`s, with kstatus' three always among them.

kstatus reads `Reconciling` and `Stalled` as abnormal when True; `Ready=False` alone means "still working". So exactly
one of the constructors below speaks for a resource in each pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from modelyard.contract.meta import Condition, ConditionStatus, ConditionType

__all__ = [
    "Finding",
    "clip",
    "conclude_conditions",
    "current",
    "find",
    "idle",
    "in_progress",
    "no",
    "stalled",
    "unknown",
    "yes",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition before it is dated."""

    type: ConditionType
    status: ConditionStatus
    reason: StrEnum
    message: str = ""


def yes(kind: ConditionType, reason: StrEnum, message: str = "") -> Finding:
    """Find that something is so."""
    return Finding(kind, ConditionStatus.TRUE, reason, message)


def no(kind: ConditionType, reason: StrEnum, message: str = "") -> Finding:
    """Find that something is not so."""
    return Finding(kind, ConditionStatus.FALSE, reason, message)


def unknown(kind: ConditionType, reason: StrEnum, message: str = "") -> Finding:
    """Find that something is not decided yet."""
    return Finding(kind, ConditionStatus.UNKNOWN, reason, message)


def current(reason: StrEnum, message: str = "") -> tuple[Finding, ...]:
    """Say that the resource is what its spec asks for."""
    return (
        yes(ConditionType.READY, reason, message),
        no(ConditionType.RECONCILING, reason),
        no(ConditionType.STALLED, reason),
    )


def in_progress(reason: StrEnum, message: str = "") -> tuple[Finding, ...]:
    """Say that the operator or the cluster works on it and nobody need act."""
    return (
        no(ConditionType.READY, reason, message),
        yes(ConditionType.RECONCILING, reason, message),
        no(ConditionType.STALLED, reason),
    )


def stalled(reason: StrEnum, message: str) -> tuple[Finding, ...]:
    """Say that a person must act; the message names the field and the fix."""
    return (
        no(ConditionType.READY, reason, message),
        no(ConditionType.RECONCILING, reason),
        yes(ConditionType.STALLED, reason, message),
    )


def idle(reason: StrEnum, message: str) -> tuple[Finding, ...]:
    """Say that it is not ready because a person asked for that."""
    return (
        no(ConditionType.READY, reason, message),
        no(ConditionType.RECONCILING, reason),
        no(ConditionType.STALLED, reason),
    )


def conclude_conditions(
    previous: Sequence[Condition], findings: Iterable[Finding], generation: int, now: datetime
) -> list[Condition]:
    """Return the findings as conditions; a condition whose status is unchanged keeps its transition time."""
    before = {condition.type: condition for condition in previous}
    return [_conclude(before.get(finding.type), finding, generation, now) for finding in findings]


def find(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of a type, if it is there."""
    return next((condition for condition in conditions if condition.type == kind), None)


def clip(text: str, limit: int) -> str:
    """Shorten a text to a field's bound."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _conclude(before: Condition | None, finding: Finding, generation: int, now: datetime) -> Condition:
    unchanged = before is not None and before.status == finding.status
    return Condition(
        type=finding.type,
        status=finding.status,
        reason=finding.reason,
        message=clip(finding.message, 4096),
        last_transition_time=before.last_transition_time if before and unchanged else now.replace(microsecond=0),
        observed_generation=generation,
    )
