"""Prepare: the steps before training, one after the other. What has been done and recorded is never done again.

A step is done when its Job has completed; the record of it in the status outlives the Job. The training's own Job is
made only when every step is done and none is at work.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from modelyard.contract.meta import ConditionType
from modelyard.contract.preparing import PreparedStep, StepStatus
from modelyard.contract.training import RunPhase, RunStatus, TrainingReason
from modelyard_operator.conditions import Finding, clip, no, unknown, yes
from modelyard_operator.outcome import Event, TrainingView
from modelyard_operator.training.children import Plan, deletion_of, expire, is_outdated, suspend_job
from modelyard_operator.training.jobs import ended_at, has_ended, is_going, pods_of
from modelyard_operator.training.run import CurrentRun, observe_run
from modelyard_operator.training.step_jobs import in_words_of, render_step, stand_in
from modelyard_operator.training.steps import Step
from modelyard_operator.training.telling import termination_of
from modelyard_operator.training.trigger import Trigger

__all__ = ["Preparation", "prepare", "prepared"]

#: How many finished steps the status remembers; those of the present spec always.
_REMEMBERED = 50


@dataclass(frozen=True, slots=True)
class Preparation:
    """How far the steps are."""

    run: CurrentRun | None
    """The current run, as its steps let it be."""
    done: tuple[PreparedStep, ...] = ()
    """The record."""
    step: StepStatus | None = None
    """The step under way."""
    ready: bool = True
    """Whether the training itself may begin."""
    plan: Plan = field(default_factory=Plan)


def prepare(
    view: TrainingView, trigger: Trigger, steps: tuple[Step, ...], run: CurrentRun | None, now: datetime
) -> Preparation:
    """Return how far the steps are and what they need."""
    known = tuple(view.training.status.prepared)
    if not steps and not view.steps:
        return Preparation(run, known)
    if not trigger.run or run is None:
        # what is to be trained is not known: nothing is started, and nothing that runs is stopped
        changes = tuple(change for job in view.steps if is_going(job) for change in suspend_job(view, job))
        return Preparation(run, known, view.training.status.preparing, ready=False, plan=Plan(changes))
    done = _record(view, steps, known, now)
    tidying = _tidy(view, steps, known)
    begun = any(job["metadata"]["name"] == trigger.run for job in view.jobs)
    following = next((step for step in steps if step.job not in {item.job for item in done}), None)
    events = tuple(_finished(item) for item in done if item not in known)
    if run.ended or begun or following is None:
        ready = not any(map(is_going, view.steps))
        told = view.training.status.preparing if run.status.reason == TrainingReason.PREPARE_FAILED else None
        return Preparation(run, done, told, ready, replace(tidying, events=events))
    stage = _work_on(view, following, run, now)
    plan = Plan(
        (*stage.plan.apply, *tidying.apply), (*stage.plan.delete, *tidying.delete), (*events, *stage.plan.events)
    )
    return replace(stage, done=done, plan=plan)


def prepared(view: TrainingView, preparation: Preparation) -> tuple[Finding, ...]:
    """Conclude `Prepared`; nothing is said of a training without steps."""
    kind, run = ConditionType.PREPARED, preparation.run
    if not view.training.spec.prepare:
        return ()
    if run is not None and run.status.reason == TrainingReason.PREPARE_FAILED:
        return (no(kind, TrainingReason.PREPARE_FAILED, run.status.message),)
    if run is None or not preparation.ready:
        return (unknown(kind, TrainingReason.PREPARING, run.status.message if run else ""),)
    names = ", ".join(step.name for step in view.training.spec.prepare)
    return (yes(kind, TrainingReason.PREPARED, f"done: {names}"),)


def _work_on(view: TrainingView, step: Step, run: CurrentRun, now: datetime) -> Preparation:
    """Return what the step under way does and needs."""
    job = next((job for job in view.steps if job["metadata"]["name"] == step.job), None)
    before = view.training.status.preparing
    known = _as_run(before) if before and before.job == step.job else _as_run(_awaited(step, "it is being created"))
    if job is None:
        return _start(view, step, run)
    seen = observe_run(stand_in(view, step), step.job, known, now)
    told = _as_step(step, seen.status)
    if seen.ended:
        # a completed one is in the record already
        message = f"spec.prepare[{step.place}] ({step.spec.name}): {told.message}"
        failed = {
            "phase": RunPhase.FAILED,
            "reason": str(TrainingReason.PREPARE_FAILED),
            "message": clip(message, 1024),
        }
        return Preparation(CurrentRun(run.status.model_copy(update=failed)), step=told, ready=False)
    config, rendered = render_step(view, step)
    going = not job["metadata"].get("deletionTimestamp")
    if going and is_outdated(job, rendered, seen.status):
        return Preparation(
            _shown(view, step, told, run, seen), step=told, ready=False, plan=Plan(delete=(deletion_of(job),))
        )
    there = any(item["metadata"]["name"] == step.job for item in view.step_configs)
    changes = (*(() if there else (config,)), *suspend_job(view, job)) if going else ()
    return Preparation(_shown(view, step, told, run, seen), step=told, ready=False, plan=Plan(changes))


def _start(view: TrainingView, step: Step, run: CurrentRun) -> Preparation:
    others = [job["metadata"]["name"] for job in (*view.jobs, *view.steps) if is_going(job)]
    if view.training.spec.suspend:
        # the run itself says that it is suspended
        return Preparation(run, ready=False)
    if others:
        told = _awaited(step, f"waits until {others[0]} has stopped")
        return Preparation(_shown(view, step, told, run, None), step=told, ready=False)
    told = _awaited(step, "it is being created")
    text = f"step {step.spec.name} ({step.place + 1} of {len(view.training.spec.prepare)}) begins: {step.job}"
    event = Event("Normal", TrainingReason.PREPARING, text)
    return Preparation(
        _shown(view, step, told, run, None), step=told, ready=False, plan=Plan(render_step(view, step), events=(event,))
    )


def _shown(view: TrainingView, step: Step, told: StepStatus, run: CurrentRun, seen: CurrentRun | None) -> CurrentRun:
    """Return the run with what its step does."""
    suspended = told.phase == RunPhase.SUSPENDED
    where = f"step {step.spec.name} ({step.place + 1} of {len(view.training.spec.prepare)})"
    doing = told.message or told.activity or "is at work"
    status = run.status.model_copy(
        update={
            "phase": RunPhase.SUSPENDED if suspended else RunPhase.PREPARING,
            "reason": told.reason,
            "message": clip(f"{where}: {doing}", 1024),
        }
    )
    return CurrentRun(status, seen.stuck, seen.look_again) if seen else CurrentRun(status)


def _record(
    view: TrainingView, steps: tuple[Step, ...], known: tuple[PreparedStep, ...], now: datetime
) -> tuple[PreparedStep, ...]:
    """Return the record with what has been done since."""
    names = {item.job for item in known}
    fresh = [item for step in steps if step.job not in names if (item := _completed(view, step, now))]
    wanted = {step.job for step in steps}
    needed = [item for item in (*known, *fresh) if item.job in wanted]
    others = [item for item in known if item.job not in wanted]
    kept = {item.job for item in (*others[max(len(others) + len(needed) - _REMEMBERED, 0) :], *needed)}
    return tuple(item for item in (*known, *fresh) if item.job in kept)


def _completed(view: TrainingView, step: Step, now: datetime) -> PreparedStep | None:
    job = next((job for job in view.steps if job["metadata"]["name"] == step.job), None)
    if job is None or not has_ended(job):
        return None
    seen = observe_run(stand_in(view, step), step.job, _as_run(_awaited(step, "")), now)
    if seen.status.phase != RunPhase.SUCCEEDED:
        return None
    records = [record for pod in pods_of(view, step.job) if (record := termination_of(pod))]
    message = records[-1].message if records else ""
    ended = ended_at(job) or now.replace(microsecond=0)
    return PreparedStep(
        name=step.spec.name, job=step.job, output=step.output, completion_time=ended, message=clip(message, 256)
    )


def _finished(item: PreparedStep) -> Event:
    return Event("Normal", TrainingReason.PREPARED, f"step {item.name} is done{item.message and ': '}{item.message}")


def _tidy(view: TrainingView, steps: tuple[Step, ...], known: tuple[PreparedStep, ...]) -> Plan:
    """Stop what is not called for any more, and start the time to live of what is recorded."""
    wanted = {step.job for step in steps}
    strays = [job for job in view.steps if job["metadata"]["name"] not in wanted]
    stopping = [job for job in strays if is_going(job) and not job["metadata"].get("deletionTimestamp")]
    run = view.training.status.run
    failed = run is not None and run.reason == TrainingReason.PREPARE_FAILED
    told = view.steps if failed else strays
    expiring = expire(view, view.steps, {item.job for item in known} | {job["metadata"]["name"] for job in told})
    at_work = {job["metadata"]["name"] for job in view.steps if is_going(job)}
    outdated = [item for item in view.step_configs if item["metadata"]["name"] not in wanted | at_work]
    return Plan(tuple(expiring), tuple(map(deletion_of, (*stopping, *outdated))))


def _awaited(step: Step, message: str) -> StepStatus:
    return StepStatus(name=step.spec.name, job=step.job, phase=str(RunPhase.PENDING), message=message)


def _as_run(step: StepStatus) -> RunStatus:
    same = step.model_dump(exclude={"name", "job", "phase"})
    return RunStatus(name=step.job, trigger="Spec", phase=RunPhase(step.phase), **same)


def _as_step(step: Step, run: RunStatus) -> StepStatus:
    same = {name: getattr(run, name) for name in StepStatus.model_fields if name not in {"name", "job", "phase"}}
    message = in_words_of(step, run.message)
    if run.phase == RunPhase.SUSPENDED:
        message = "spec.suspend is true: it begins again when that is set back"
    return StepStatus(
        name=step.spec.name, job=step.job, phase=str(run.phase), **same | {"message": clip(message, 1024)}
    )
