"""A checkpoint's status: the verdict of the training's present gate, and the servings that use the package."""

from dataclasses import dataclass
from datetime import datetime

from modelyard.contract.checkpoint import CheckpointReason, CheckpointStatus, ModelCheckpoint, Verdict
from modelyard.contract.meta import Condition, ConditionType
from modelyard.contract.serving import ModelServing
from modelyard_operator.checkpoint.gate import describe_number, evaluate, summarise
from modelyard_operator.conditions import Finding, clip, conclude_conditions, find, no, unknown, yes
from modelyard_operator.outcome import CheckpointView, Event, Outcome

__all__ = ["conclude"]


@dataclass(frozen=True, slots=True)
class _Judgement:
    verdict: Verdict | None
    gate: str
    findings: tuple[Finding, ...]


def conclude(view: CheckpointView, now: datetime) -> Outcome:
    """Judge a checkpoint. The verdict is bound to the gate's hash, so another gate judges anew."""
    checkpoint = view.checkpoint
    if checkpoint.metadata.deletion_timestamp is not None:
        return Outcome(checkpoint.status)
    judgement = _judge(view)
    before = checkpoint.status.conditions
    conditions = conclude_conditions(before, judgement.findings, checkpoint.metadata.generation, now)
    status = CheckpointStatus(
        observed_generation=checkpoint.metadata.generation,
        conditions=conditions,
        verdict=judgement.verdict,
        gate=judgement.gate,
        headline=_headline(view),
        serving=sorted(s.metadata.name for s in view.servings if _serves(s, checkpoint))[:1000],
    )
    return Outcome(status, events=_events(before, conditions))


def _judge(view: CheckpointView) -> _Judgement:
    name = view.checkpoint.spec.training
    if name is None:
        return _undecided(CheckpointReason.NOT_GATED, "no training is named in spec.training: nothing to judge it by")
    if view.training is None:
        message = f"spec.training: there is no ModelTraining {name} whose gate could judge this checkpoint"
        return _undecided(CheckpointReason.TRAINING_NOT_FOUND, message)
    verdict = evaluate(view.training.spec.gate, view.checkpoint.spec.metrics)
    text = summarise(verdict)
    passing = yes if verdict.passed else no
    reason = CheckpointReason.GATE_PASSED if verdict.passed else CheckpointReason.GATE_FAILED
    findings = (yes(ConditionType.READY, reason, text), passing(ConditionType.PASSED, reason, text))
    return _Judgement(verdict, text, findings)


def _undecided(reason: CheckpointReason, message: str) -> _Judgement:
    ready = yes if reason == CheckpointReason.NOT_GATED else no
    findings = (ready(ConditionType.READY, reason, message), unknown(ConditionType.PASSED, reason, message))
    return _Judgement(None, str(reason), findings)


def _headline(view: CheckpointView) -> str | None:
    """Return the first gated metric that was published, else the first published one."""
    metrics = view.checkpoint.spec.metrics
    gated = [threshold.name for threshold in view.training.spec.gate.metrics] if view.training else []
    name = next((name for name in (*gated, *sorted(metrics)) if name in metrics), None)
    return clip(f"{name}={describe_number(metrics[name])}", 128) if name is not None else None


def _serves(serving: ModelServing, checkpoint: ModelCheckpoint) -> bool:
    revisions = (serving.status.stable, serving.status.candidate)
    return serving.metadata.namespace == checkpoint.metadata.namespace and any(
        revision.checkpoint == checkpoint.metadata.name and revision.digest == checkpoint.spec.digest
        for revision in revisions
        if revision is not None
    )


def _events(before: list[Condition], after: list[Condition]) -> tuple[Event, ...]:
    old, new = find(before, ConditionType.PASSED), find(after, ConditionType.PASSED)
    if new is None or (old is not None and old.reason == new.reason):
        return ()
    kind = "Warning" if new.reason in {CheckpointReason.GATE_FAILED, CheckpointReason.TRAINING_NOT_FOUND} else "Normal"
    return (Event(kind, new.reason, new.message),)
