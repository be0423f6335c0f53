"""Conditions as kstatus and people read them."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

import pytest

from modelyard.contract.meta import Condition, ConditionType
from modelyard_operator.conditions import (
    Finding,
    clip,
    conclude_conditions,
    current,
    find,
    idle,
    in_progress,
    no,
    stalled,
    yes,
)
from tests.support.objects import NOW


class Reason(StrEnum):
    A = "A"
    B = "B"


LATER = NOW + timedelta(minutes=5)


def test_an_unchanged_status_keeps_its_time_whatever_else_changes() -> None:
    before = conclude_conditions([], [yes(ConditionType.READY, Reason.A, "old")], 1, NOW)
    (after,) = conclude_conditions(before, [yes(ConditionType.READY, Reason.B, "new")], 2, LATER)
    assert (after.last_transition_time, after.reason, after.message, after.observed_generation) == (NOW, "B", "new", 2)


def test_a_changed_status_is_dated_anew() -> None:
    before = conclude_conditions([], [yes(ConditionType.READY, Reason.A)], 1, NOW)
    (after,) = conclude_conditions(before, [no(ConditionType.READY, Reason.A)], 1, LATER)
    assert after.last_transition_time == LATER


def test_times_are_whole_seconds_so_that_they_survive_the_api_server() -> None:
    (condition,) = conclude_conditions([], [yes(ConditionType.READY, Reason.A)], 1, NOW.replace(microsecond=5))
    assert Condition.model_validate(condition.document()) == condition


def kstatus(conditions: list[Condition]) -> str:
    """Conclude as kstatus does for a custom resource."""
    told = {condition.type: condition.status for condition in conditions}
    if told.get("Reconciling") == "True":
        return "InProgress"
    if told.get("Stalled") == "True":
        return "Failed"
    return {"True": "Current", "False": "InProgress"}[told["Ready"]]


@pytest.mark.parametrize(
    ("say", "read"),
    [(current, "Current"), (in_progress, "InProgress"), (stalled, "Failed"), (idle, "InProgress")],
)
def test_each_word_is_read_by_kstatus_as_meant(say: Callable[..., tuple[Finding, ...]], read: str) -> None:
    assert kstatus(conclude_conditions([], say(Reason.A, "why"), 1, NOW)) == read


def test_a_condition_is_found_by_its_type() -> None:
    conditions = conclude_conditions([], current(Reason.A), 1, NOW)
    assert find(conditions, ConditionType.STALLED) is conditions[2]
    assert find(conditions, ConditionType.PASSED) is None


def test_a_long_text_is_cut_to_its_bound() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
