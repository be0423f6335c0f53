"""Retention: which packages are kept, and the collecting of the others.

It is done in steps, so that nothing is deleted that something has just chosen: a package is first noted in the status
as expiring; then its ModelCheckpoint goes, and nothing can choose it any more; then, if still nothing names it after a
while, a Job deletes it. One that is named on the way is taken off the list. Each step is a pass of its own, and a crash
between them only repeats one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.meta import API_VERSION
from modelyard.contract.retention import Collected, Collection, ExpiringPackage, RetentionStatus
from modelyard.contract.training import FinishedRun, TrainingReason
from modelyard.contract.wire import MANAGED_BY, Label
from modelyard_operator.checkpoint.gate import applies, passed, recency
from modelyard_operator.conditions import clip
from modelyard_operator.outcome import Deletion, Event, Manifest, TrainingView
from modelyard_operator.training.children import Plan, deletion_of
from modelyard_operator.training.collecting import COLLECTOR, name_collection, render_collection
from modelyard_operator.training.jobs import ended_at, failure, has_ended, has_succeeded, is_going, pods_of
from modelyard_operator.training.manifests import change_job
from modelyard_operator.training.run import CurrentRun
from modelyard_operator.troubles import last_termination

__all__ = ["Keeping", "forget_collected", "retain"]

#: From one collection to the next.
PERIOD = timedelta(hours=1)
#: How long a package must have been out of everybody's sight before it is deleted.
GRACE = timedelta(minutes=1)
#: How long the saved states and half-written packages of a run are kept after its end.
LEFTOVERS = timedelta(days=1)
#: How long an ended Job waits for its pod's record to be seen.
RECORD_GRACE = timedelta(seconds=30)
#: As many names as a termination message holds.
_MOST = 40
#: The newest that passed, and the one before it: what a service may go back to.
_PASSED = 2
_TTL_SECONDS = 3600
_LOOK_AGAIN = 2.0
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is collected, and what that needs."""

    status: RetentionStatus | None
    plan: Plan = field(default_factory=Plan)
    at_work: bool = False
    """Whether a Job deletes: no run is begun meanwhile."""
    look_again: float | None = None


def retain(view: TrainingView, run: CurrentRun | None, now: datetime) -> Keeping:
    """Return the next step of collecting."""
    before = view.training.status.retention or RetentionStatus()
    known = view.training.status.retention
    if any(map(is_going, view.collections)):
        return Keeping(known, at_work=True)
    ended = next((job for job in view.collections if job["metadata"]["name"] != before.job and _is_fresh(job)), None)
    if ended is not None:
        return _conclude(view, before, ended, now)
    tidying = _tidy(view)
    at_rest = run is not None and run.ended and not any(map(is_going, (*view.jobs, *view.steps)))
    if not at_rest or now < (before.last_time or _LONG_AGO) + PERIOD:
        return Keeping(known, tidying)
    assert run is not None
    unneeded = _unneeded(view, now)
    names = set(_words(view.users)) if unneeded or before.expiring else set()
    still = [item for item in before.expiring if not _is_wanted(item, names, run.status.name)]
    listed = {item.checkpoint for item in still}
    fresh = [item for item in unneeded if item.checkpoint not in listed]
    expiring = (still + [item for item in fresh if not _is_wanted(item, names, run.status.name)])[:_MOST]
    if expiring != before.expiring:
        return Keeping(before.model_copy(update={"expiring": expiring, "since": _seconds(now)}), tidying)
    there = [item for item in view.checkpoints if item.metadata.name in listed and _is_ours(item)]
    if there:
        # the grace is counted from when the last of them was seen
        hiding = before.model_copy(update={"since": _seconds(now)})
        return Keeping(hiding, Plan(tidying.apply, (*tidying.delete, *map(_deletion, there))))
    over = _over(view, before, now)
    if not expiring and not over:
        return Keeping(known, tidying)
    rest = ((before.since or _LONG_AGO) + GRACE - now).total_seconds() if expiring else 0.0
    if rest > 0:
        return Keeping(known, tidying, look_again=rest)
    return Keeping(known, _begin(view, before, expiring, over), at_work=True)


def forget_collected(history: list[FinishedRun], view: TrainingView, keeping: Keeping) -> list[FinishedRun]:
    """Return the history without runs of which nothing is left: their spec, applied again, is trained again."""
    expiring = keeping.status.expiring if keeping.status else ()
    published = {item.spec.run for item in view.checkpoints} - {None}
    gone = {item.run for item in expiring} - published
    return [entry for entry in history if entry.name not in gone]


def _unneeded(view: TrainingView, now: datetime) -> list[ExpiringPackage]:
    """Return the packages that the training itself has no need of, oldest first; none while one awaits its verdict."""
    gate, output = view.training.spec.gate, view.training.spec.output.uri.rstrip("/")
    ordered = sorted(filter(_is_ours, view.checkpoints), key=recency, reverse=True)
    if not all(applies(item, gate) for item in ordered):
        return []
    retention = view.training.spec.retention
    kept = ordered[: retention.keep]
    kept += [item for item in ordered if passed(item, gate)][:_PASSED]
    names = {item.metadata.name for item in kept}
    # while its Job is there, a pod of it may still tell of the package
    jobs = {job["metadata"]["name"] for job in view.jobs}
    return [
        _note(item)
        for item in reversed(ordered)
        if item.metadata.name not in names
        and item.spec.run not in jobs
        and (item.metadata.creation_timestamp or now) + timedelta(seconds=retention.min_age_seconds) <= now
        and not item.status.serving
        and item.spec.uri.startswith(f"{output}/runs/{item.spec.run}/attempts/")
    ]


def _is_ours(checkpoint: ModelCheckpoint) -> bool:
    """Return whether the operator wrote it; what a person wrote is never touched."""
    spec, metadata = checkpoint.spec, checkpoint.metadata
    return metadata.labels.get(Label.MANAGED_BY) == MANAGED_BY and metadata.name == f"{spec.run}-{spec.step}"


def _is_wanted(package: ExpiringPackage, names: set[str], run: str) -> bool:
    return package.run == run or not names.isdisjoint({package.checkpoint, package.uri, package.digest})


def _note(checkpoint: ModelCheckpoint) -> ExpiringPackage:
    spec = checkpoint.spec
    return ExpiringPackage(
        checkpoint=checkpoint.metadata.name, uri=spec.uri, digest=spec.digest, run=spec.run or "", step=spec.step
    )


def _words(users: Iterable[Manifest]) -> Iterator[str]:
    """Yield every text in what users ask for and tell, but what they turned back: any of it may name a package."""
    for user in users:
        status = {name: value for name, value in (user.get("status") or {}).items() if name != "rejected"}
        yield from _texts([user["metadata"]["name"], user.get("spec"), status])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.rstrip("/")
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _over(view: TrainingView, before: RetentionStatus, now: datetime) -> list[str]:
    """Return runs that ended for good long enough ago, if one of them has not been collected yet."""
    last = before.last_time or _LONG_AGO
    jobs = {job["metadata"]["name"] for job in view.jobs if is_going(job)}
    due = {
        entry.name: (entry.completion_time or now) + LEFTOVERS
        for entry in view.training.status.runs
        if entry.reason != TrainingReason.SUPERSEDED and entry.name not in jobs
    }
    over = sorted(name for name, when in due.items() if when <= now)
    return over if any(due[name] > last for name in over) else []


def _begin(view: TrainingView, before: RetentionStatus, expiring: list[ExpiringPackage], over: list[str]) -> Plan:
    words = set(_words(view.users))
    specs = [item.spec for item in view.checkpoints]
    collection = Collection(
        training=view.training.metadata.name,
        output=view.training.spec.output.uri,
        expire=expiring,
        kept=sorted({spec.uri.rstrip("/") for spec in specs} | {word for word in words if "://" in word}),
        kept_digests=sorted({spec.digest for spec in specs} | {word for word in words if word.startswith("sha256:")}),
        # a run whose last package goes may have left the history already
        over=sorted({*over, *({item.run for item in expiring} - {spec.run for spec in specs})}),
    )
    name = name_collection(view, collection, before.last_time.isoformat() if before.last_time else "")
    return Plan(render_collection(view, name, collection))


def _conclude(view: TrainingView, before: RetentionStatus, job: Manifest, now: datetime) -> Keeping:
    """Take note of what a Job did."""
    record = _record(view, job)
    told = ended_at(job) or now
    if record is None and now < told + RECORD_GRACE:
        return Keeping(before, at_work=True, look_again=_LOOK_AGAIN)
    name = str(job["metadata"]["name"])
    record = record or Collected(message=str(failure(job).get("message", "")))
    gone = set(record.packages) if has_succeeded(job) else set()
    packages = sum(item.checkpoint in gone for item in before.expiring)
    words = (
        f"{packages} packages, the states of {record.states} runs and {record.leftovers} unfinished packages deleted"
    )
    message = "; ".join(filter(None, [words, record.message])) if has_succeeded(job) else record.message
    status = before.model_copy(
        update={
            "expiring": [item for item in before.expiring if item.checkpoint not in gone],
            "job": name,
            "last_time": _seconds(now),
            "collected": before.collected + packages,
            "message": clip(message, 1024),
        }
    )
    if not has_succeeded(job):
        events: tuple[Event, ...] = (Event("Warning", TrainingReason.COLLECT_FAILED, clip(message, 1024)),)
    elif packages or record.states or record.leftovers or record.message:
        events = (Event("Normal", TrainingReason.COLLECTED, clip(message, 1024)),)
    else:
        events = ()
    return Keeping(status, Plan(events=events), at_work=True)


def _record(view: TrainingView, job: Manifest) -> Collected | None:
    for pod in reversed(pods_of(view, str(job["metadata"]["name"]))):
        ended = last_termination(pod, COLLECTOR) or {}
        try:
            return Collected.model_validate_json(str(ended.get("message") or ""))
        except ValueError:
            continue
    return None


def _is_fresh(job: Manifest) -> bool:
    """Return whether a Job's end has not been taken note of: afterwards it is given a time to live."""
    return has_ended(job) and "ttlSecondsAfterFinished" not in job["spec"]


def _tidy(view: TrainingView) -> Plan:
    fresh = [job for job in view.collections if _is_fresh(job) and not job["metadata"].get("deletionTimestamp")]
    at_work = {job["metadata"]["name"] for job in view.collections if is_going(job)}
    old = [item for item in view.collection_configs if item["metadata"]["name"] not in at_work]
    return Plan(
        tuple(change_job(job, ttlSecondsAfterFinished=_TTL_SECONDS) for job in fresh), tuple(map(deletion_of, old))
    )


def _deletion(checkpoint: ModelCheckpoint) -> Deletion:
    metadata = checkpoint.metadata
    return Deletion(API_VERSION, "ModelCheckpoint", metadata.namespace, metadata.name, metadata.uid)


def _seconds(now: datetime) -> datetime:
    return now.replace(microsecond=0)
