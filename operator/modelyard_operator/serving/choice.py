"""Choice: which package the spec asks for, and which revision is wanted because of it.

A package that cannot be chosen never takes anything away: what serves goes on serving.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.serving import RejectedRevision, Revision, ServingReason
from modelyard_operator.checkpoint.gate import applies, passed, recency
from modelyard_operator.outcome import ServingView
from modelyard_operator.serving.fleet import Fleet
from modelyard_operator.serving.revision import Package, Rendered, package_of, render_revision

__all__ = ["Choice", "choose"]

#: Manifests of one `kubectl apply` arrive one after the other; a reference may be early.
ORDER_GRACE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Choice:
    """The revision that is wanted, and why it is not what the spec asks for."""

    wanted: Rendered | None
    """None: nothing can be served yet."""
    reason: ServingReason | None = None
    message: str = ""
    stalled: bool = False
    """Whether a person must act."""
    look_again: float | None = None
    refused: RejectedRevision | None = None
    """The rejection of the revision that the spec asks for first."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What the spec's source has to offer, best first."""

    packages: tuple[Package, ...] = ()
    reason: ServingReason | None = None
    message: str = ""
    stalled: bool = False
    look_again: float | None = None
    holds_candidate: bool = False
    """Whether a change under way goes on although nothing is offered."""


def choose(
    view: ServingView, fleet: Fleet, now: datetime, rejected: Sequence[RejectedRevision] | None = None
) -> Choice:
    """Return the wanted revision."""
    status = view.serving.status
    if view.serving.spec.paused:
        text = "spec.paused is true: no new revision is started"
        return Choice(_hold(view, fleet, candidate_first=True), ServingReason.PAUSED, text)
    offer = _offer(view, now)
    if not offer.packages:
        held = _hold(view, fleet, candidate_first=offer.holds_candidate)
        return Choice(held, offer.reason, offer.message, offer.stalled, offer.look_again)
    # Without a stable revision there is nothing that a rejection would protect.
    known = (status.rejected if rejected is None else rejected) if status.stable else ()
    return _select(view, fleet, offer.packages, {item.name: item for item in known})


def _select(
    view: ServingView, fleet: Fleet, packages: tuple[Package, ...], rejected: dict[str, RejectedRevision]
) -> Choice:
    """Return the best package's revision that was not rejected; never one older than what serves."""
    stable = view.serving.status.stable
    refused = rejected.get(render_revision(view, packages[0]).name)
    for package in packages:
        rendered = render_revision(view, package)
        if rendered.name not in rejected:
            return Choice(rendered, refused=refused)
        if stable and (package.checkpoint, package.digest) == (stable.checkpoint, stable.digest):
            break
    return Choice(_hold(view, fleet, candidate_first=False), refused=refused)


def _hold(view: ServingView, fleet: Fleet, *, candidate_first: bool) -> Rendered | None:
    """Return the revision that serves (or comes in) as it is; made anew only if its Deployment is lost."""
    status = view.serving.status
    order = (status.candidate, status.stable) if candidate_first else (status.stable, status.candidate)
    for revision in order:
        if revision is not None and revision.name in fleet:
            return _as_it_is(view, revision)
    lost = status.stable or status.candidate
    return render_revision(view, package_of(lost)) if lost else None


def _as_it_is(view: ServingView, revision: Revision) -> Rendered:
    package = package_of(revision)
    rendered = render_revision(view, package)
    return rendered if rendered.name == revision.name else Rendered(revision.name, package, None)


def _offer(view: ServingView, now: datetime) -> _Offer:
    source = view.serving.spec.model
    if source.training is not None:
        return _from_training(view, source.training, now)
    if source.checkpoint is not None:
        return _from_checkpoint(view, source.checkpoint, now)
    return _Offer((Package(source.uri or "", source.digest or ""),))


def _from_training(view: ServingView, name: str, now: datetime) -> _Offer:
    training = view.training
    if training is None:
        return _missing(view, f"spec.model.training: there is no ModelTraining {name} in this namespace", now)
    gate = training.spec.gate
    mine = sorted((item for item in _local(view) if item.spec.training == name), key=recency, reverse=True)
    good = [item for item in mine if passed(item, gate)]
    undecided = next((item for item in mine if not applies(item, gate)), None)
    if undecided is not None and (not good or recency(undecided) > recency(good[0])):
        text = f"the gate's verdict on {undecided.metadata.name} is awaited"
        return _Offer((), ServingReason.NO_PASSED_CHECKPOINT, text, holds_candidate=True)
    if good:
        return _Offer(tuple(map(package_of, good)))
    told = f"{mine[0].metadata.name}: {mine[0].status.gate}" if mine else f"its phase is {training.status.phase}"
    text = f"the training {name} has no checkpoint that passed its gate ({told})"
    return _Offer((), ServingReason.NO_PASSED_CHECKPOINT, text)


def _from_checkpoint(view: ServingView, name: str, now: datetime) -> _Offer:
    checkpoint = next((item for item in _local(view) if item.metadata.name == name), None)
    if checkpoint is None:
        return _missing(view, f"spec.model.checkpoint: there is no ModelCheckpoint {name} in this namespace", now)
    verdict = checkpoint.status.verdict
    if checkpoint.spec.training is None or (verdict is not None and verdict.passed):
        return _Offer((package_of(checkpoint),))
    if verdict is None:
        text = f"spec.model.checkpoint: the gate's verdict on {name} is awaited ({checkpoint.status.gate})"
        return _Offer((), ServingReason.NO_PASSED_CHECKPOINT, text, holds_candidate=True)
    text = f"spec.model.checkpoint: {name} did not pass its training's gate ({checkpoint.status.gate}): pin another one"
    return _Offer((), ServingReason.CHECKPOINT_FAILED_GATE, text, stalled=True)


def _missing(view: ServingView, message: str, now: datetime) -> _Offer:
    since = view.serving.metadata.creation_timestamp or now
    rest = (since + ORDER_GRACE - now).total_seconds()
    reason = ServingReason.MODEL_NOT_FOUND
    return _Offer((), reason, message, rest <= 0, rest if rest > 0 else None, holds_candidate=True)


def _local(view: ServingView) -> list[ModelCheckpoint]:
    """Return the checkpoints of the serving's own namespace: nothing else is ever served."""
    namespace = view.serving.metadata.namespace
    return [item for item in view.checkpoints if item.metadata.namespace == namespace]
