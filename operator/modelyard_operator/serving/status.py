"""Status: what a serving tells, concluded from its stages."""

from dataclasses import dataclass
from datetime import datetime

from modelyard.contract.serving import RejectedRevision, Revision, RolloutStatus, ServingStatus
from modelyard_operator.conditions import clip, conclude_conditions
from modelyard_operator.outcome import ServingView
from modelyard_operator.serving.children import count_of
from modelyard_operator.serving.choice import Choice
from modelyard_operator.serving.fleet import Fleet
from modelyard_operator.serving.manifests import selector_of, url_of
from modelyard_operator.serving.planner import Counts
from modelyard_operator.serving.roles import Role, Roles, declared_replicas, size_of
from modelyard_operator.serving.summary import Scene, find_all, phase_of
from modelyard_operator.serving.verdict import Verdict, find_group_trouble

__all__ = ["Conclusion", "report"]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The status, and when time alone may change it."""

    status: ServingStatus
    look_again: float | None


def report(
    view: ServingView, fleet: Fleet, choice: Choice, *, roles: Roles, counts: Counts, verdict: Verdict, now: datetime
) -> Conclusion:
    """Return the serving's status."""
    serving = view.serving
    target = roles.candidate or roles.stable
    trouble = find_group_trouble(fleet.get(target.name), now) if target else None
    ready = sum(group.ready for group in fleet.values())
    scene = Scene(
        roles=roles,
        choice=choice,
        declared=declared_replicas(view),
        ready=ready,
        paused=serving.spec.paused,
        trouble=trouble,
        note=counts.note,
        overdue=_overdue(view, roles, verdict, now),
    )
    conditions = conclude_conditions(serving.status.conditions, find_all(scene), serving.metadata.generation, now)
    selector = ",".join(f"{key}={value}" for key, value in selector_of(serving).items())
    status = ServingStatus(
        observed_generation=serving.metadata.generation,
        conditions=conditions,
        phase=phase_of(scene),
        replicas=sum(group.existing for group in fleet.values()),
        ready_replicas=ready,
        ready=f"{ready}/{declared_replicas(view)}",
        selector=selector,
        url=url_of(serving),
        stable=_revision(fleet, roles, counts, roles.stable),
        candidate=_revision(fleet, roles, counts, roles.candidate),
        weight=_weight(fleet, roles, ready),
        rollout=_rollout(verdict, counts),
        rejected=_rejected(view, verdict),
    )
    return Conclusion(status, _look_again(choice, verdict, scene, now))


def _rejected(view: ServingView, verdict: Verdict) -> list[RejectedRevision]:
    before, newest = view.serving.status.rejected, verdict.rejected
    return [newest, *(item for item in before if item.name != newest.name)][:10] if newest else list(before)


def _overdue(view: ServingView, roles: Roles, verdict: Verdict, now: datetime) -> bool:
    """Return whether a first revision has made no progress for longer than a rollout may."""
    return roles.stable is None and verdict.deadline is not None and now >= verdict.deadline


def _revision(fleet: Fleet, roles: Roles, counts: Counts, role: Role | None) -> Revision | None:
    if role is None:
        return None
    package = role.package
    return Revision(
        name=role.name,
        checkpoint=package.checkpoint,
        digest=package.digest,
        uri=package.uri,
        run=package.run,
        metrics=package.metrics,
        runtime=package.runtime,
        replicas=count_of(roles, counts, role),
        ready_replicas=size_of(fleet, role).ready,
    )


def _weight(fleet: Fleet, roles: Roles, ready: int) -> str | None:
    """Return the candidate's share of the ready pods, which is its share of the requests."""
    if roles.candidate is None:
        return None
    return f"{round(100 * size_of(fleet, roles.candidate).ready / ready) if ready else 0}%"


def _rollout(verdict: Verdict, counts: Counts) -> RolloutStatus | None:
    return verdict.rollout.model_copy(update={"note": clip(counts.note, 512)}) if verdict.rollout else None


def _look_again(choice: Choice, verdict: Verdict, scene: Scene, now: datetime) -> float | None:
    times = [moment for moment in (verdict.deadline, scene.trouble.until if scene.trouble else None) if moment]
    waits = [(moment - now).total_seconds() for moment in times if moment > now]
    waits += [choice.look_again] if choice.look_again else []
    return max(min(waits), 0.1) if waits else None
