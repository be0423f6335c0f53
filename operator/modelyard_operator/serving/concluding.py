"""One pass over a serving: its stages in order."""

from datetime import datetime

from modelyard_operator.outcome import Outcome, ServingView
from modelyard_operator.serving.children import render_children
from modelyard_operator.serving.choice import choose
from modelyard_operator.serving.events import tell
from modelyard_operator.serving.fleet import observe_fleet
from modelyard_operator.serving.planner import plan
from modelyard_operator.serving.roles import assign_roles
from modelyard_operator.serving.status import report
from modelyard_operator.serving.verdict import judge

__all__ = ["conclude"]


def conclude(view: ServingView, now: datetime) -> Outcome:
    """Decide what a serving needs now."""
    status = view.serving.status
    if view.serving.metadata.deletion_timestamp is not None:
        return Outcome(status)
    fleet = observe_fleet(view)
    choice = choose(view, fleet, now)
    roles = assign_roles(view, fleet, choice.wanted, status.rejected)
    verdict = judge(view, fleet, roles, now)
    if verdict.rejected is not None:
        # The same pass turns back: the stable revision is the target again and the rejected one is left over.
        rejected = [verdict.rejected, *status.rejected][:10]
        choice = choose(view, fleet, now, rejected=rejected)
        roles = assign_roles(view, fleet, choice.wanted, rejected)
    counts = plan(roles.situation(view, fleet))
    children = render_children(view, fleet, roles, counts)
    conclusion = report(view, fleet, choice, roles=roles, counts=counts, verdict=verdict, now=now)
    return Outcome(
        conclusion.status,
        apply=children.apply,
        delete=children.delete,
        events=tell(status, conclusion.status),
        requeue_after=conclusion.look_again,
    )
