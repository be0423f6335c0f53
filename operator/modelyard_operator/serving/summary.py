"""Summary: a serving's conditions and its one word for people."""

from dataclasses import dataclass

from modelyard.contract.meta import ConditionType
from modelyard.contract.serving import ServingPhase, ServingReason
from modelyard_operator.conditions import Finding, current, idle, in_progress, no, stalled, unknown, yes
from modelyard_operator.serving.choice import Choice
from modelyard_operator.serving.roles import Roles
from modelyard_operator.troubles import Trouble

__all__ = ["Scene", "find_all", "phase_of"]

RETRY_HINT = (
    "the previous one goes on serving; it is tried again when the spec or the model changes, "
    "or with a new value of the annotation modelyard.dev/restart"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What the conditions are concluded from."""

    roles: Roles
    choice: Choice
    declared: int
    ready: int
    paused: bool
    trouble: Trouble | None
    """What keeps pods of the target from being ready."""
    note: str
    overdue: bool
    """Whether a first revision has made no progress for longer than a rollout may."""

    @property
    def enough(self) -> bool:
        """Whether the declared pods are ready."""
        return self.ready >= self.declared

    @property
    def stuck(self) -> Trouble | None:
        """The trouble that a person must mend."""
        return self.trouble if self.trouble and self.trouble.stuck else None


def find_all(scene: Scene) -> tuple[Finding, ...]:
    """Conclude every condition of a serving."""
    return (*summarise(scene), available(scene), progressing(scene))


def available(scene: Scene) -> Finding:
    """Conclude `Available`: whether the declared number of pods answers, of whichever revision."""
    kind = ConditionType.AVAILABLE
    if scene.roles.stable is None and scene.roles.candidate is None:
        reason = scene.choice.reason or ServingReason.MINIMUM_REPLICAS_UNAVAILABLE
        return no(kind, reason, scene.choice.message)
    if scene.declared == 0:
        return yes(kind, ServingReason.SCALED_TO_ZERO, "spec.replicas is 0")
    if scene.enough:
        return yes(kind, ServingReason.MINIMUM_REPLICAS_AVAILABLE, f"{scene.declared} of {scene.declared} pods answer")
    return no(kind, ServingReason.MINIMUM_REPLICAS_UNAVAILABLE, _count(scene))


def progressing(scene: Scene) -> Finding:
    """Conclude `Progressing`: whether a change is under way or has come to its end."""
    kind = ConditionType.PROGRESSING
    if scene.choice.refused is not None and scene.roles.candidate is None:
        return no(kind, ServingReason.REVISION_REJECTED, _refusal(scene))
    if scene.roles.candidate is None and scene.roles.stable is None:
        return unknown(kind, scene.choice.reason or ServingReason.STARTING, scene.choice.message)
    if scene.paused:
        return unknown(kind, ServingReason.PAUSED, scene.choice.message)
    if scene.roles.candidate is None:
        return yes(kind, ServingReason.ROLLOUT_COMPLETE, f"{_name(scene)} is the only revision")
    if scene.overdue:
        return no(kind, ServingReason.PROGRESS_DEADLINE_EXCEEDED, _work(scene))
    reason = ServingReason.ROLLING_OUT if scene.roles.stable else ServingReason.STARTING
    return yes(kind, reason, _work(scene))


def summarise(scene: Scene) -> tuple[Finding, ...]:
    """Conclude kstatus' three. Ready means: the wanted revision alone serves, on the declared number of pods."""
    roles, choice = scene.roles, scene.choice
    if roles.candidate is not None:
        return _changing(scene)
    if roles.stable is None:
        return _empty(scene)
    if choice.refused is not None:
        return stalled(ServingReason.REVISION_REJECTED, _refusal(scene))
    if choice.stalled:
        reason = choice.reason or ServingReason.MODEL_NOT_FOUND
        return stalled(reason, f"{choice.message}; {_name(scene)} goes on serving")
    if not scene.enough:
        reason = ServingReason.MINIMUM_REPLICAS_UNAVAILABLE
        return stalled(reason, _work(scene)) if scene.stuck else in_progress(reason, _count(scene))
    if roles.leftovers and not scene.paused:
        return in_progress(ServingReason.ROLLING_OUT, f"{_name(scene)} serves; pods of other revisions leave")
    return _steady(scene)


def phase_of(scene: Scene) -> ServingPhase:
    """Return one word for people."""
    if scene.paused:
        return ServingPhase.PAUSED
    if scene.roles.stable is None:
        return ServingPhase.STARTING if scene.roles.candidate else ServingPhase.WAITING
    if scene.roles.candidate is not None:
        return ServingPhase.ROLLING
    if scene.choice.refused or scene.choice.stalled or (scene.stuck and not scene.enough):
        return ServingPhase.DEGRADED
    return ServingPhase.SERVING if scene.enough else ServingPhase.STARTING


def _empty(scene: Scene) -> tuple[Finding, ...]:
    reason = scene.choice.reason or ServingReason.STARTING
    if scene.choice.stalled:
        return stalled(reason, scene.choice.message)
    if scene.paused:
        return idle(reason, scene.choice.message)
    return in_progress(reason, scene.choice.message)


def _changing(scene: Scene) -> tuple[Finding, ...]:
    if scene.paused:
        return idle(ServingReason.PAUSED, f"{scene.choice.message}; the change under way rests")
    if scene.roles.stable is not None:
        return in_progress(ServingReason.ROLLING_OUT, _work(scene))
    if scene.overdue:
        return stalled(ServingReason.PROGRESS_DEADLINE_EXCEEDED, _work(scene))
    if scene.stuck:
        return stalled(ServingReason.STARTING, _work(scene))
    return in_progress(ServingReason.STARTING, _work(scene))


def _steady(scene: Scene) -> tuple[Finding, ...]:
    if scene.paused:
        return current(ServingReason.PAUSED, scene.choice.message)
    if scene.declared == 0:
        return current(ServingReason.SCALED_TO_ZERO, "spec.replicas is 0: no pod is wanted")
    kept = f"; {scene.choice.message}" if scene.choice.message else ""
    return current(ServingReason.SERVING, f"{_name(scene)} serves{kept}")


def _refusal(scene: Scene) -> str:
    refused = scene.choice.refused
    return f"{refused.name} was rejected: {refused.message}; {RETRY_HINT}" if refused else ""


def _work(scene: Scene) -> str:
    told = scene.note or _count(scene)
    return f"{_name(scene)}: {told}" + (f": {scene.trouble.message}" if scene.trouble else "")


def _count(scene: Scene) -> str:
    return f"{scene.ready} of {scene.declared} pods are ready"


def _name(scene: Scene) -> str:
    target = scene.roles.candidate or scene.roles.stable
    return (target.package.checkpoint or target.name) if target else "nothing"
