"""Events of a serving: what changed from one status to the next."""

from modelyard.contract.meta import ConditionStatus, ConditionType
from modelyard.contract.serving import Revision, ServingReason, ServingStatus
from modelyard_operator.conditions import find
from modelyard_operator.outcome import Event

__all__ = ["tell"]


def tell(before: ServingStatus, after: ServingStatus) -> tuple[Event, ...]:
    """Return the events that tell of the change."""
    told = (_started(before, after), _completed(before, after), _rejected(before, after), _stalled(before, after))
    return tuple(event for event in told if event is not None)


def _started(before: ServingStatus, after: ServingStatus) -> Event | None:
    if after.candidate is None or _name(before.candidate) == after.candidate.name:
        return None
    text = f"{after.candidate.name} ({_model(after.candidate)}) is brought in"
    return Event("Normal", ServingReason.ROLLOUT_STARTED, text)


def _completed(before: ServingStatus, after: ServingStatus) -> Event | None:
    if after.stable is None or _name(before.stable) == after.stable.name:
        return None
    text = f"{after.stable.name} ({_model(after.stable)}) serves"
    return Event("Normal", ServingReason.ROLLOUT_COMPLETE, text)


def _rejected(before: ServingStatus, after: ServingStatus) -> Event | None:
    if not after.rejected or after.rejected[0] in before.rejected:
        return None
    newest = after.rejected[0]
    return Event("Warning", ServingReason.REVISION_REJECTED, f"{newest.name}: {newest.message}")


def _stalled(before: ServingStatus, after: ServingStatus) -> Event | None:
    old, new = find(before.conditions, ConditionType.STALLED), find(after.conditions, ConditionType.STALLED)
    if new is None or new.status != ConditionStatus.TRUE or new.reason == ServingReason.REVISION_REJECTED:
        return None
    if old is not None and (old.status, old.reason, old.message) == (new.status, new.reason, new.message):
        return None
    return Event("Warning", new.reason, new.message)


def _name(revision: Revision | None) -> str | None:
    return revision.name if revision else None


def _model(revision: Revision) -> str:
    return revision.checkpoint or revision.digest[:19]
