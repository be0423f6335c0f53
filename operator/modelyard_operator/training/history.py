"""History: the runs that ended, newest first."""

from datetime import UTC, datetime

from modelyard.contract.training import FinishedRun, RunPhase, RunStatus, TrainingReason
from modelyard_operator.outcome import Manifest, TrainingView
from modelyard_operator.training.jobs import ended_at, find_job, has_ended
from modelyard_operator.training.run import CurrentRun, observe_run
from modelyard_operator.training.trigger import Trigger

__all__ = ["remember"]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def remember(view: TrainingView, trigger: Trigger, current: CurrentRun | None, now: datetime) -> list[FinishedRun]:
    """Return the record of ended runs. The run that goes on is not in it, even if it was superseded once."""
    entries = {entry.name: entry for entry in view.training.status.runs}
    for job in view.jobs:
        if has_ended(job) and job["metadata"]["name"] not in entries:
            entries |= _from_job(view, job, now)
    if current is not None:
        entries.pop(current.status.name, None)
        if current.ended:
            before = next((item for item in view.training.status.runs if item.name == current.status.name), None)
            entries[current.status.name] = _finish(view, current.status, before, now)
    entries |= _superseded(view, trigger, now)
    ordered = sorted(entries.values(), key=lambda entry: (entry.completion_time or _LONG_AGO, entry.name), reverse=True)
    return ordered[: view.training.spec.history_limit]


def _from_job(view: TrainingView, job: Manifest, now: datetime) -> dict[str, FinishedRun]:
    name = job["metadata"]["name"]
    before = view.training.status.run
    known = before if before and before.name == name else RunStatus(name=name, trigger="Spec", phase=RunPhase.PENDING)
    run = observe_run(view, name, known, now)
    return {name: _finish(view, run.status, None, now)} if run.ended else {}


def _superseded(view: TrainingView, trigger: Trigger, now: datetime) -> dict[str, FinishedRun]:
    """Record the run that another one takes the place of, also when its Job went before that was written down."""
    before = view.training.status.run
    if before is None or not trigger.run or before.name == trigger.run:
        return {}
    job = find_job(view, before.name)
    if before.phase in {RunPhase.SUCCEEDED, RunPhase.FAILED} or (job is not None and has_ended(job)):
        return {}
    ended = before.model_copy(
        update={
            "phase": RunPhase.FAILED,
            "reason": str(TrainingReason.SUPERSEDED),
            "message": f"Superseded by {trigger.run}: what is trained changed",
        }
    )
    return {before.name: _finish(view, ended, None, now)}


def _finish(view: TrainingView, run: RunStatus, before: FinishedRun | None, now: datetime) -> FinishedRun:
    job = find_job(view, run.name)
    known = before.completion_time if before else None
    told = ended_at(job) if job is not None and has_ended(job) else None
    return FinishedRun(
        name=run.name,
        phase=run.phase,
        reason=run.reason,
        message=run.message,
        metrics=run.metrics,
        checkpoint=run.checkpoints[-1].name if run.checkpoints else None,
        completion_time=told or known or now.replace(microsecond=0),
    )
