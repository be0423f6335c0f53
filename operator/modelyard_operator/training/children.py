"""Children: what is made, changed and deleted so that exactly the run that is called for runs.

A run's ConfigMap and Job are rendered once, when the run begins: changed limits and resources are for the next run.
A Job that a queue admits is never suspended nor resumed here: to hold it, it is deleted, and made again afterwards.
A run whose pods do not run (they wait for a Secret, a node, a repeat, or are suspended) is given a new Job when its
pod template has changed, so that correcting the manifest mends it. Never two Jobs at work: another run's Job is
deleted first, and the new one waits until it is gone.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from modelyard.contract.training import RunPhase, RunStatus, TrainingReason
from modelyard.contract.wire import Annotation
from modelyard_operator.outcome import Deletion, Event, Manifest, TrainingView
from modelyard_operator.training.jobs import find_job, has_ended, is_going, queue_of
from modelyard_operator.training.links import outdated_links, render_links
from modelyard_operator.training.manifests import change_job, render_config, render_job
from modelyard_operator.training.run import CurrentRun
from modelyard_operator.training.trigger import Trigger

__all__ = ["Plan", "deletion_of", "expire", "is_outdated", "plan_children", "suspend_job"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to the children."""

    apply: tuple[Manifest, ...] = ()
    delete: tuple[Deletion, ...] = ()
    events: tuple[Event, ...] = ()


def plan_children(view: TrainingView, trigger: Trigger, current: CurrentRun | None, *, ready: bool = True) -> Plan:
    """Return what happens to ConfigMaps and Jobs in this pass; `ready`: what comes before training is done."""
    expiring = expire(view, view.jobs, {run.name for run in view.training.status.runs})
    if not trigger.run or current is None:
        # What is to be trained is not known: nothing is started, and nothing that runs is stopped.
        suspending = [change for job in view.jobs if is_going(job) for change in suspend_job(view, job)]
        return Plan(apply=(*expiring, *suspending), delete=_held(view, view.jobs))
    others = [job for job in view.jobs if is_going(job) and job["metadata"]["name"] != trigger.run]
    stopping = [job for job in others if not job["metadata"].get("deletionTimestamp")]
    own = _plan_own(view, trigger, current, blocked=bool(others) or not ready)
    delete = (*map(deletion_of, stopping), *own.delete, *_outdated_configs(view, trigger), *outdated_links(view))
    links = () if current.ended else render_links(view.training)
    return Plan((*links, *own.apply, *expiring), delete, own.events)


def _plan_own(view: TrainingView, trigger: Trigger, current: CurrentRun, *, blocked: bool) -> Plan:
    job = find_job(view, trigger.run)
    if job is None:
        if current.ended or blocked or view.training.spec.suspend:
            return Plan()
        event = Event("Normal", TrainingReason.RUN_CREATED, f"run {trigger.run} begins ({trigger.cause})")
        return Plan((render_config(view, trigger), render_job(view, trigger)), events=(event,))
    if has_ended(job) or job["metadata"].get("deletionTimestamp"):
        return Plan()
    if held := _held(view, [job]):
        return Plan(delete=held, events=_switch_events(view, job))
    if is_outdated(job, render_job(view, trigger), current.status):
        return Plan(delete=(deletion_of(job),))
    known = any(config["metadata"]["name"] == trigger.run for config in view.configs)
    config = () if known else (render_config(view, trigger),)
    switched = suspend_job(view, job)
    return Plan((*config, *switched), events=_switch_events(view, job) if switched else ())


def is_outdated(job: Manifest, rendered: Manifest, run: RunStatus) -> bool:
    """Return whether a Job whose pods do not run would be given others now."""
    wanted, applied = (item["metadata"].get("annotations", {}).get(Annotation.TEMPLATE) for item in (rendered, job))
    differs = wanted != applied or queue_of(rendered) != queue_of(job)
    return run.phase != RunPhase.RUNNING and run.reason is not None and differs


def suspend_job(view: TrainingView, job: Manifest) -> tuple[Manifest, ...]:
    """Return the change that stops a Job or lets it go on, if the spec asks for one."""
    wanted = view.training.spec.suspend
    if queue_of(job):
        return ()
    return (change_job(job, suspend=wanted),) if bool(job["spec"].get("suspend")) != wanted else ()


def _held(view: TrainingView, jobs: Iterable[Manifest]) -> tuple[Deletion, ...]:
    """Return the deletions of Jobs that are to be suspended and that a queue would resume again."""
    if not view.training.spec.suspend:
        return ()
    queued = [job for job in jobs if is_going(job) and queue_of(job)]
    return tuple(deletion_of(job) for job in queued if not job["metadata"].get("deletionTimestamp"))


def _switch_events(view: TrainingView, job: Manifest) -> tuple[Event, ...]:
    name = job["metadata"]["name"]
    if view.training.spec.suspend:
        return (Event("Normal", TrainingReason.SUSPENDED, f"run {name} saves its state and stops"),)
    return (Event("Normal", TrainingReason.RESUMED, f"run {name} goes on from its saved state"),)


def expire(view: TrainingView, jobs: Iterable[Manifest], recorded: Collection[str]) -> list[Manifest]:
    """Start the time to live of ended Jobs whose result is recorded, so that none is lost and run again."""
    wanted = view.training.spec.ttl_seconds_after_finished
    return [
        change_job(job, ttlSecondsAfterFinished=wanted)
        for job in jobs
        if has_ended(job)
        and job["metadata"]["name"] in recorded
        and job["spec"].get("ttlSecondsAfterFinished") != wanted
        and not job["metadata"].get("deletionTimestamp")
    ]


def _outdated_configs(view: TrainingView, trigger: Trigger) -> tuple[Deletion, ...]:
    """Delete the ConfigMaps of earlier runs once the current run's own is there: its cause was read from them."""
    names = {config["metadata"]["name"] for config in view.configs}
    jobs = {job["metadata"]["name"] for job in view.jobs if is_going(job)}
    if trigger.run not in names:
        return ()
    kept = jobs | {trigger.run}
    return tuple(deletion_of(config) for config in view.configs if config["metadata"]["name"] not in kept)


def deletion_of(manifest: Manifest) -> Deletion:
    """Return the deletion of exactly this object."""
    metadata = manifest["metadata"]
    return Deletion(
        manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"], metadata.get("uid", "")
    )
