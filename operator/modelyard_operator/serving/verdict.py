"""Verdict: the infrastructure gate. A candidate whose pods make no progress towards ready is rejected in time.

Only a candidate beside a stable revision can be rejected: where nothing serves there is nothing to protect, and going
on trying lets a serving mend by itself once the cause is gone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard.contract.serving import RejectedRevision, RolloutStatus, ServingReason
from modelyard_operator.conditions import clip
from modelyard_operator.outcome import ServingView
from modelyard_operator.serving.fleet import Fleet, Group
from modelyard_operator.serving.revision import CONTAINER
from modelyard_operator.serving.roles import Roles, declared_replicas, size_of
from modelyard_operator.troubles import Fields, Trouble, created_at, find_trouble, is_ready

__all__ = ["Verdict", "find_group_trouble", "judge"]

_FIELDS = Fields(claims="spec.model", command="spec.image")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the candidate's time."""

    rollout: RolloutStatus | None = None
    """The change under way; None: nothing changes."""
    rejected: RejectedRevision | None = None
    """The candidate, if its time is over."""
    deadline: datetime | None = None
    """When the candidate's time is over."""


def judge(view: ServingView, fleet: Fleet, roles: Roles, now: datetime) -> Verdict:
    """Return what became of the candidate's time."""
    if roles.candidate is None:
        return Verdict()
    rollout = _follow(view, fleet, roles, now)
    limit = view.serving.spec.rollout.progress_deadline_seconds
    deadline = rollout.progressed + timedelta(seconds=limit)
    size = size_of(fleet, roles.candidate)
    known = roles.candidate.name in fleet
    # A candidate that a crash left without pods waits, too: it may have been on its way out.
    waits = size.ready < min(max(size.desired, 1), declared_replicas(view))
    if not waits or view.serving.spec.paused:
        return Verdict(rollout)
    if now < deadline or roles.stable is None or not known:
        return Verdict(rollout, deadline=deadline)
    trouble = find_group_trouble(fleet.get(roles.candidate.name), now)
    reason = trouble.reason if trouble else str(ServingReason.PROGRESS_DEADLINE_EXCEEDED)
    why = trouble.message if trouble else "its pods start but do not become ready"
    text = f"no new pod became ready within {limit} s (spec.rollout.progressDeadlineSeconds): {why}"
    rejected = RejectedRevision(
        name=roles.candidate.name,
        digest=roles.candidate.package.digest,
        reason=reason,
        message=clip(text, 1024),
        time=now.replace(microsecond=0),
    )
    return Verdict(None, rejected)


def find_group_trouble(group: Group | None, now: datetime) -> Trouble | None:
    """Return what keeps a revision's pods from being ready: what a person must mend before what may pass."""
    if group is None:
        return None
    refused = _refused(group)
    if refused is not None:
        return refused
    unready = sorted((pod for pod in group.pods if not is_ready(pod)), key=lambda pod: str(created_at(pod)))
    found = [trouble for pod in unready if (trouble := find_trouble(pod, CONTAINER, _FIELDS, now))]
    return max(found, key=lambda trouble: trouble.stuck, default=None)


def _refused(group: Group) -> Trouble | None:
    """Return why pods of a revision are not admitted: a quota, a policy, a missing ServiceAccount."""
    for condition in group.deployment.get("status", {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            text = f"pods are not admitted (spec.storage.serviceAccountName, quotas): {condition.get('message', '')}"
            return Trouble("FailedCreate", clip(text, 1024), stuck=True)
    return None


def _follow(view: ServingView, fleet: Fleet, roles: Roles, now: datetime) -> RolloutStatus:
    """Return the change under way. Progress is a new peak of ready pods: a pod that comes and goes is none."""
    status, moment = view.serving.status, now.replace(microsecond=0)
    candidate = roles.candidate
    ready = size_of(fleet, candidate).ready if candidate else 0
    same = status.candidate is not None and candidate is not None and status.candidate.name == candidate.name
    before = status.rollout if same else None
    if before is None:
        return RolloutStatus(started=moment, progressed=moment, peak_ready=ready)
    resumed = status.phase == "Paused" and not view.serving.spec.paused
    progressed = moment if resumed or ready > before.peak_ready else before.progressed
    return before.model_copy(update={"progressed": progressed, "peak_ready": max(ready, before.peak_ready)})
