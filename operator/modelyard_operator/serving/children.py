"""Children: what is made, resized and deleted so that each revision has the pods that the planner gave it."""

from dataclasses import dataclass

from modelyard_operator.outcome import Deletion, Manifest, ServingView
from modelyard_operator.serving.fleet import Fleet, Group
from modelyard_operator.serving.manifests import render_budget, render_deployment, render_service, resize_deployment
from modelyard_operator.serving.planner import Counts
from modelyard_operator.serving.roles import Role, Roles

__all__ = ["Children", "count_of", "render_children"]


@dataclass(frozen=True, slots=True)
class Children:
    """What happens to the children."""

    apply: tuple[Manifest, ...]
    delete: tuple[Deletion, ...]


def render_children(view: ServingView, fleet: Fleet, roles: Roles, counts: Counts) -> Children:
    """Return what happens to the children.

    The wanted revision is applied in full in every pass, so that whatever is lost or bent is put right. A revision
    that is to go is first brought to no pods, so that each drains, and its empty Deployment is deleted afterwards.
    """
    serving = view.serving
    apply: list[Manifest] = [render_service(serving), render_budget(serving)]
    for role in (roles.stable, roles.candidate):
        if role is not None:
            apply += _apply(view, fleet, roles, role, count_of(roles, counts, role))
    delete = []
    for role, count in zip(roles.leftovers, counts.leftovers, strict=True):
        group = fleet[role.name]
        if group.leaving:
            continue
        if group.existing == 0 and group.desired == 0:
            delete.append(_deletion(group))
        elif count != group.desired:
            apply.append(resize_deployment(group.deployment, count))
    return Children(tuple(apply), tuple(delete))


def count_of(roles: Roles, counts: Counts, role: Role) -> int:
    """Return how many pods the planner gave the stable revision or the candidate."""
    is_target = role == (roles.candidate or roles.stable)
    return counts.target if is_target else counts.keeper


def _apply(view: ServingView, fleet: Fleet, roles: Roles, role: Role, count: int) -> list[Manifest]:
    group, wanted = fleet.get(role.name), roles.wanted
    if group is not None and group.leaving:
        return []
    if wanted is not None and wanted.name == role.name and wanted.template is not None:
        return [render_deployment(view.serving, wanted, count)]
    if group is None or group.desired == count:
        return []
    return [resize_deployment(group.deployment, count)]


def _deletion(group: Group) -> Deletion:
    metadata = group.deployment["metadata"]
    return Deletion("apps/v1", "Deployment", metadata["namespace"], metadata["name"], metadata.get("uid", ""))
