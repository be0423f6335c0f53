"""Status: what a training tells, concluded from its stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.meta import Condition, ConditionType
from modelyard.contract.preparing import StepStatus
from modelyard.contract.training import FinishedRun, RunPhase, RunStatus, TrainingPhase, TrainingReason, TrainingStatus
from modelyard_operator.checkpoint.gate import applies, passed, recency
from modelyard_operator.conditions import (
    Finding,
    conclude_conditions,
    current,
    find,
    idle,
    in_progress,
    no,
    stalled,
    unknown,
    yes,
)
from modelyard_operator.outcome import Event, TrainingView
from modelyard_operator.training.gate import mirror_gate
from modelyard_operator.training.prepare import Preparation, prepared
from modelyard_operator.training.record import describe
from modelyard_operator.training.run import CurrentRun
from modelyard_operator.training.trigger import Trigger

__all__ = ["Conclusion", "describe_seconds", "report"]

_TOLD = (ConditionType.TRAINED, ConditionType.PUBLISHED, ConditionType.PASSED)
#: Told elsewhere, or not worth an event.
_QUIET = frozenset(
    {
        TrainingReason.RUN_PENDING,
        TrainingReason.PREPARING,
        TrainingReason.NO_CHECKPOINT,
        TrainingReason.CHECKPOINT_PUBLISHED,
        TrainingReason.SUSPENDED,
    }
)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The status, and the events that tell of its changes."""

    status: TrainingStatus
    events: tuple[Event, ...]


def report(
    view: TrainingView, trigger: Trigger, preparation: Preparation, history: list[FinishedRun], now: datetime
) -> Conclusion:
    """Return the training's status."""
    training, run = view.training, preparation.run
    stages = (trained(trigger, run), published(run), judged(view, run))
    findings = (*summarise(trigger, run, stages), *prepared(view, preparation), *stages)
    before = training.status.conditions
    conditions = conclude_conditions(before, findings, training.metadata.generation, now)
    standing = mirror_gate(view)
    told = run.status if run else None
    shown = preparation.step or told
    status = TrainingStatus(
        observed_generation=training.metadata.generation,
        conditions=conditions,
        phase=TrainingPhase(told.phase) if told else _first_phase(view),
        progress=_percent(shown),
        eta=describe_seconds(shown.eta_seconds) if shown and shown.eta_seconds is not None else None,
        run=told,
        runs=history,
        preparing=preparation.step,
        prepared=list(preparation.done),
        last_published=describe(standing.newest) if standing.newest else None,
        champion=describe(standing.champion) if standing.champion else None,
        gate=standing.text,
    )
    return Conclusion(status, _events(before, conditions))


def trained(trigger: Trigger, run: CurrentRun | None) -> Finding:
    """Conclude `Trained`: whether the current run has ended well."""
    kind = ConditionType.TRAINED
    if trigger.problem:
        return no(kind, TrainingReason.SCRIPT_NOT_FOUND, trigger.problem)
    if run is None:
        return unknown(kind, TrainingReason.RUN_PENDING)
    told = run.status
    match told.phase:
        case RunPhase.SUCCEEDED:
            return yes(kind, TrainingReason.SUCCEEDED, f"the run {told.name} has succeeded")
        case RunPhase.FAILED:
            return no(kind, _failure_reason(told), f"the run {told.name} has failed: {told.message}")
        case RunPhase.SUSPENDED:
            return unknown(kind, TrainingReason.SUSPENDED, told.message)
        case RunPhase.PREPARING:
            return unknown(kind, TrainingReason.PREPARING, f"the run {told.name} is being prepared: {told.message}")
        case RunPhase.RUNNING:
            return unknown(kind, TrainingReason.RUNNING, f"the run {told.name} is training")
        case RunPhase.PENDING:
            reason = TrainingReason.QUEUED if told.reason == TrainingReason.QUEUED else TrainingReason.RUN_PENDING
            return unknown(kind, reason, f"the run {told.name}: {told.message}")


def published(run: CurrentRun | None) -> Finding:
    """Conclude `Published`: whether the current run has a checkpoint on record."""
    kind = ConditionType.PUBLISHED
    if run is None or not run.status.checkpoints:
        if run is not None and run.status.phase == RunPhase.SUCCEEDED:
            text = f"the run {run.status.name} ended without a package: the script must call run.publish()"
            return no(kind, TrainingReason.NOTHING_PUBLISHED, text)
        return unknown(kind, TrainingReason.NO_CHECKPOINT, "nothing has been published by the current run")
    newest = run.status.checkpoints[-1]
    return yes(kind, TrainingReason.CHECKPOINT_PUBLISHED, f"{newest.name} was published at step {newest.step}")


def judged(view: TrainingView, run: CurrentRun | None) -> Finding:
    """Conclude `Passed`: whether the current run's newest checkpoint passed the present gate."""
    kind, gate = ConditionType.PASSED, view.training.spec.gate
    newest = _newest(view, run)
    if newest is None:
        return unknown(kind, TrainingReason.NO_CHECKPOINT, "no checkpoint of the current run to judge")
    if not applies(newest, gate):
        return unknown(kind, TrainingReason.NO_CHECKPOINT, f"the verdict on {newest.metadata.name} is awaited")
    text = f"{newest.metadata.name}: {newest.status.gate}"
    if passed(newest, gate):
        return yes(kind, TrainingReason.GATE_PASSED, text)
    return no(kind, TrainingReason.GATE_FAILED, f"{text}; it is not served")


def summarise(trigger: Trigger, run: CurrentRun | None, stages: Sequence[Finding]) -> tuple[Finding, ...]:
    """Conclude kstatus' three. Ready means: trained, published, and good enough to be served."""
    training, publishing, gate = stages
    if trigger.problem or training.status == "False":
        return stalled(_reason(training), training.message)
    if run is not None and run.status.phase == RunPhase.SUCCEEDED:
        wrong = next((stage for stage in (publishing, gate) if stage.status == "False"), None)
        if wrong is not None:
            return stalled(_reason(wrong), wrong.message)
        if gate.status == "True":
            return current(TrainingReason.SUCCEEDED, gate.message)
        return in_progress(TrainingReason.CHECKPOINT_PUBLISHED, gate.message)
    if run is not None and run.status.phase == RunPhase.SUSPENDED:
        return idle(TrainingReason.SUSPENDED, training.message)
    if run is not None and run.stuck:
        return stalled(_reason(training), training.message)
    return in_progress(_reason(training), training.message)


def describe_seconds(seconds: int) -> str:
    """Return a duration for people: `35s`, `4m10s`, `2h05m`."""
    minutes, rest = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def _newest(view: TrainingView, run: CurrentRun | None) -> ModelCheckpoint | None:
    mine = [checkpoint for checkpoint in view.checkpoints if run and checkpoint.spec.run == run.status.name]
    return max(mine, key=recency, default=None)


def _failure_reason(run: RunStatus) -> TrainingReason:
    return TrainingReason(run.reason) if run.reason in set(TrainingReason) else TrainingReason.RUN_FAILED


def _reason(finding: Finding) -> TrainingReason:
    return TrainingReason(finding.reason)


def _first_phase(view: TrainingView) -> TrainingPhase:
    return TrainingPhase.SUSPENDED if view.training.spec.suspend else TrainingPhase.PENDING


def _percent(run: RunStatus | StepStatus | None) -> str | None:
    return f"{run.progress_percent}%" if run and run.progress_percent is not None else None


def _events(before: list[Condition], after: list[Condition]) -> tuple[Event, ...]:
    events = []
    for condition in (found for kind in _TOLD if (found := find(after, kind))):
        old = find(before, ConditionType(condition.type))
        known = old is not None and (old.reason, old.message) == (condition.reason, condition.message)
        same_reason = old is not None and old.reason == condition.reason
        if condition.reason in _QUIET or known or (same_reason and condition.status != "False"):
            continue
        events.append(
            Event("Warning" if condition.status == "False" else "Normal", condition.reason, condition.message)
        )
    return tuple(events)
