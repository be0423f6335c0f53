"""Run: where the current run stands, from its Job, its pods and what they tell."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard.contract.training import FinishedRun, RunPhase, RunStatus, TrainingReason
from modelyard.contract.wire import Annotation, ExitCode
from modelyard_operator.conditions import clip
from modelyard_operator.outcome import Manifest, TrainingView
from modelyard_operator.training.jobs import (
    ended_at,
    failure,
    find_job,
    has_ended,
    has_succeeded,
    pods_of,
    queue_of,
    reason_of,
)
from modelyard_operator.training.progress import tell_progress
from modelyard_operator.training.record import list_checkpoints
from modelyard_operator.training.tasks import (
    chiefs,
    count_tasks,
    exit_code,
    last_failure,
    name_task,
    newest_by_task,
    runs,
)
from modelyard_operator.training.telling import CONTAINER, failure_text, published_by
from modelyard_operator.training.trigger import Cause, Trigger
from modelyard_operator.troubles import Fields, Trouble, container_status, created_at, find_trouble, is_leaving

__all__ = ["CurrentRun", "finished_record", "observe_current", "observe_run"]

#: How long an ended Job waits for its pod's final record to be seen: Jobs and pods are watched separately.
RECORD_GRACE = timedelta(seconds=30)
#: How long a Job may have no pod before a person is asked to look: admission may refuse it.
POD_GRACE = timedelta(seconds=20)
ENDED = frozenset({RunPhase.SUCCEEDED, RunPhase.FAILED})
_LOOK_AGAIN = 2.0
_NO_POD: Manifest = {"metadata": {}, "status": {}}


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """The current run as this pass sees it."""

    status: RunStatus
    stuck: bool = False
    """Whether a person must act for it to go on."""
    look_again: float | None = None
    """Seconds until time alone may change something."""

    @property
    def ended(self) -> bool:
        """Whether it succeeded or failed."""
        return self.status.phase in ENDED


def observe_current(view: TrainingView, trigger: Trigger, now: datetime) -> CurrentRun | None:
    """Return the run that is called for; if that is not known, the one that was; None before the first."""
    before = view.training.status.run
    if not trigger.run:
        return observe_run(view, before.name, before, now) if before else None
    record = finished_record(view, trigger.run)
    if record is not None and find_job(view, trigger.run) is None:
        return CurrentRun(record)
    known = record or (before if before and before.name == trigger.run else _new_run(trigger))
    return observe_run(view, trigger.run, known, now)


def _new_run(trigger: Trigger) -> RunStatus:
    text = "the run is being created"
    return RunStatus(name=trigger.run, trigger=trigger.cause, phase=RunPhase.PENDING, message=text)


def finished_record(view: TrainingView, run: str) -> RunStatus | None:
    """Return the record of a run that ended and must not be run again; a superseded one may go on.

    If the record is lost, a checkpoint of the run speaks for it.
    """
    status = view.training.status
    if status.run and status.run.name == run:
        ended = status.run.phase in ENDED and status.run.reason != TrainingReason.SUPERSEDED
        return _with_checkpoints(view, status.run) if ended else None
    entry = next((item for item in status.runs if item.name == run), None)
    if entry is not None:
        return None if entry.reason == TrainingReason.SUPERSEDED else _from_entry(view, entry)
    if any(checkpoint.spec.run == run for checkpoint in view.checkpoints):
        return _from_entry(view, FinishedRun(name=run, phase=RunPhase.SUCCEEDED))
    return None


def observe_run(view: TrainingView, run: str, before: RunStatus, now: datetime) -> CurrentRun:
    """Return where a run stands; what is no longer told stays as it was told."""
    job = find_job(view, run)
    pods = pods_of(view, run)
    told = _with_checkpoints(view, tell_progress(view, before, chiefs(pods)))
    if job is None:
        return _without_job(view, told)
    told = count_tasks(told, job, pods).model_copy(
        update={
            "start_time": created_at(job) or told.start_time,
            "trigger": job["metadata"].get("annotations", {}).get(Annotation.TRIGGER, told.trigger),
        }
    )
    if has_ended(job):
        return _ended(view, told, job, pods, now)
    return _unfinished(view, told, job, pods, now)


def _without_job(view: TrainingView, told: RunStatus) -> CurrentRun:
    if told.phase in ENDED:
        return CurrentRun(told)
    if view.training.spec.suspend:
        return CurrentRun(_waiting(told, RunPhase.SUSPENDED, "Suspended", "spec.suspend is true: nothing is started"))
    others = [job["metadata"]["name"] for job in view.jobs if not has_ended(job)]
    text = f"waits until the run {others[0]} has stopped" if others else "the run is being created"
    return CurrentRun(_waiting(told, RunPhase.PENDING, None, text))


def _ended(view: TrainingView, told: RunStatus, job: Manifest, pods: list[Manifest], now: datetime) -> CurrentRun:
    since = ended_at(job) or now
    awaited = told.phase not in ENDED and now < since + RECORD_GRACE
    if awaited and not _final_record_seen(view, told.name, job, chiefs(pods)):
        waiting = told.model_copy(update={"message": "the pod has ended; its final record is awaited"})
        return CurrentRun(waiting, look_again=_LOOK_AGAIN)
    if has_succeeded(job):
        return CurrentRun(
            told.model_copy(
                update={
                    "phase": RunPhase.SUCCEEDED,
                    "reason": None,
                    "activity": None,
                    "message": "",
                    "progress_percent": 100,
                    "eta_seconds": None,
                }
            )
        )
    return CurrentRun(
        told.model_copy(
            update={
                "phase": RunPhase.FAILED,
                "reason": str(reason_of(job)),
                "activity": None,
                "eta_seconds": None,
                "message": _failure_message(view, told, job, pods),
            }
        )
    )


def _final_record_seen(view: TrainingView, run: str, job: Manifest, pods: list[Manifest]) -> bool:
    if pods and not is_leaving(pods[-1]):
        return False
    ended = any(container_status(pod, CONTAINER).get("state", {}).get("terminated") for pod in pods)
    return ended or bool(failure(job)) or bool(published_by(view, run))


def _failure_message(view: TrainingView, told: RunStatus, job: Manifest, pods: list[Manifest]) -> str:
    if reason_of(job) == TrainingReason.DEADLINE_EXCEEDED:
        limit = job["spec"].get("activeDeadlineSeconds")
        return f"spec.activeDeadlineSeconds: the run took longer than {limit} seconds"
    text = last_failure(view, job, pods)
    known = told.message if told.phase == RunPhase.FAILED else ""
    return clip(text or known or str(failure(job).get("message", "")), 1024)


def _unfinished(view: TrainingView, told: RunStatus, job: Manifest, pods: list[Manifest], now: datetime) -> CurrentRun:
    if job["metadata"].get("deletionTimestamp"):
        return CurrentRun(_waiting(told, RunPhase.PENDING, None, "the run's Job is being replaced"))
    if job.get("spec", {}).get("suspend"):
        if queue := queue_of(job):
            text = f"waits until the queue {queue} admits it (spec.queueName)"
            return CurrentRun(_waiting(told, RunPhase.PENDING, str(TrainingReason.QUEUED), text))
        text = "spec.suspend is true: the run goes on from its saved state when it is set back"
        return CurrentRun(_waiting(told, RunPhase.SUSPENDED, "Suspended", text))
    own = chiefs(pods)
    if own and exit_code(own[-1]) == ExitCode.DONE:
        # The Job says that it is complete a moment after its container.
        return CurrentRun(told.model_copy(update={"phase": RunPhase.RUNNING, "reason": None, "message": ""}))
    present = newest_by_task(pod for pod in pods if not is_leaving(pod))
    for index, pod in sorted(present.items()):
        if trouble := find_trouble(pod, CONTAINER, Fields(), now):
            return _troubled(told, trouble, now, name_task(view, job, index))
    if 0 not in present:
        return _between_attempts(view, told, job, pods, now)
    if not runs(present[0]):
        return CurrentRun(_waiting(told, RunPhase.PENDING, None, f"{name_task(view, job, 0)}the pod is starting"))
    # A message of the time before this attempt ran would be a lie now.
    message = told.message if told.phase == RunPhase.RUNNING else ""
    message = _awaited(view, job, pods, present) or message
    return CurrentRun(told.model_copy(update={"phase": RunPhase.RUNNING, "reason": None, "message": message}))


def _awaited(view: TrainingView, job: Manifest, pods: list[Manifest], present: dict[int, Manifest]) -> str:
    """Return which task the chief waits for, and how its last attempt ended; empty if all run."""
    missing = [index for index in range(job["spec"].get("completions", 1)) if not runs(present.get(index, _NO_POD))]
    if not missing:
        return ""
    index = missing[0]
    if index in present:
        return f"{name_task(view, job, index)}the pod is starting"
    newest = newest_by_task(pods).get(index)
    text = failure_text(newest) if newest else ""
    return clip(f"{name_task(view, job, index)}{text or 'the pod is awaited'}", 1024)


def _troubled(told: RunStatus, trouble: Trouble, now: datetime, task: str) -> CurrentRun:
    again = (trouble.until - now).total_seconds() if trouble.until and not trouble.stuck else None
    text = f"{task}{trouble.message}"
    return CurrentRun(_waiting(told, RunPhase.PENDING, trouble.reason, text), trouble.stuck, again)


def _between_attempts(
    view: TrainingView, told: RunStatus, job: Manifest, pods: list[Manifest], now: datetime
) -> CurrentRun:
    if text := last_failure(view, job, pods):
        limit = job["spec"].get("backoffLimit")
        codes = {exit_code(pod) for pod in newest_by_task(pods).values()} - {None, int(ExitCode.DONE)}
        if codes == {ExitCode.INTERRUPTED}:
            text = f"attempt {told.attempts} is followed by another one: {text}"
        elif ExitCode.CONFIGURATION not in codes:
            text = f"attempt {told.attempts} failed and is repeated (spec.backoffLimit {limit}): {text}"
        return CurrentRun(_waiting(told, RunPhase.PENDING, "AttemptFailed", text))
    since = created_at(job) or now
    if pods or now < since + POD_GRACE:
        again = None if pods else max((since + POD_GRACE - now).total_seconds(), 0.1)
        return CurrentRun(_waiting(told, RunPhase.PENDING, None, "the next pod is awaited"), look_again=again)
    account = view.training.spec.storage.service_account_name
    field = f"does the ServiceAccount {account} of spec.storage.serviceAccountName exist, and" if account else "does"
    text = f"no pod has been admitted: {field} a quota allow it? See kubectl describe job {told.name}"
    return CurrentRun(_waiting(told, RunPhase.PENDING, "NoPod", text), stuck=True)


def _waiting(told: RunStatus, phase: RunPhase, reason: str | None, message: str) -> RunStatus:
    return told.model_copy(
        update={
            "phase": phase,
            "reason": reason,
            "message": clip(message, 1024),
            "activity": None,
            "eta_seconds": None,
        }
    )


def _from_entry(view: TrainingView, entry: FinishedRun) -> RunStatus:
    run = RunStatus(
        name=entry.name,
        trigger=Cause.SPEC,
        phase=entry.phase,
        reason=entry.reason,
        message=entry.message,
        metrics=entry.metrics,
        progress_percent=100 if entry.phase == RunPhase.SUCCEEDED else None,
    )
    return _with_checkpoints(view, run)


def _with_checkpoints(view: TrainingView, run: RunStatus) -> RunStatus:
    return run.model_copy(update={"checkpoints": list_checkpoints(view, run.name)})
