"""Roles: which revision serves, which one is brought in, and which ones should go."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.contract.serving import RejectedRevision
from modelyard_operator.outcome import ServingView
from modelyard_operator.serving.fleet import Fleet, Group
from modelyard_operator.serving.planner import Situation, Size
from modelyard_operator.serving.revision import Package, Rendered, package_of

__all__ = ["Role", "Roles", "assign_roles", "declared_replicas", "surge"]


@dataclass(frozen=True, slots=True)
class Role:
    """A revision in its role."""

    name: str
    package: Package


@dataclass(frozen=True, slots=True)
class Roles:
    """Who is who."""

    wanted: Rendered | None
    """What the spec asks for; it is rendered when its Deployment is applied."""
    stable: Role | None
    candidate: Role | None
    leftovers: tuple[Role, ...]
    promoted: bool = False
    """Whether this pass made the candidate the stable revision."""

    def situation(self, view: ServingView, fleet: Fleet) -> Situation:
        """Return what the planner looks at."""
        target = self.candidate or self.stable
        keeper = self.stable if self.candidate else None
        return Situation(
            declared=declared_replicas(view),
            surge=surge(view),
            target=size_of(fleet, target) if target else None,
            keeper=size_of(fleet, keeper) if keeper else None,
            leftovers=tuple(size_of(fleet, role) for role in self.leftovers),
            frozen=view.serving.spec.paused,
        )


def assign_roles(
    view: ServingView, fleet: Fleet, wanted: Rendered | None, rejected: Sequence[RejectedRevision]
) -> Roles:
    """Return who is who. What the status does not know is concluded from the Deployments that are ready."""
    stable = _stable(view, fleet, wanted, {item.name for item in rejected})
    candidate = Role(wanted.name, wanted.package) if wanted and (not stable or wanted.name != stable.name) else None
    promoted = candidate is not None and _is_promoted(view, fleet, stable, candidate)
    if promoted:
        stable, candidate = candidate, None
    taken = {role.name for role in (stable, candidate) if role}
    leftovers = tuple(Role(group.name, group.package) for group in fleet.values() if group.name not in taken)
    return Roles(wanted, stable, candidate, leftovers, promoted)


def declared_replicas(view: ServingView) -> int:
    """Return how many pods should serve."""
    return view.serving.spec.replicas


def surge(view: ServingView) -> int:
    """Return how many pods above the declared ones may exist: what the spec says, else a quarter, at least one."""
    return view.serving.spec.rollout.max_surge or max(1, -(-declared_replicas(view) // 4))


def size_of(fleet: Fleet, role: Role) -> Size:
    """Return a revision's size; nothing if it has no Deployment."""
    group = fleet.get(role.name)
    return Size(group.desired, group.existing, group.ready) if group else Size()


def _stable(view: ServingView, fleet: Fleet, wanted: Rendered | None, rejected: set[str]) -> Role | None:
    """Return the revision that serves: the one on record if it is or can be there, else one that is ready."""
    recorded = view.serving.status.stable
    if recorded is not None and (recorded.name in fleet or (wanted and wanted.name == recorded.name)):
        return Role(recorded.name, package_of(recorded))
    serving = [group for group in fleet.values() if _could_serve(view, group, wanted) and group.name not in rejected]
    best = max(serving, key=lambda group: (group.ready, group.name), default=None)
    return Role(best.name, best.package) if best else None


def _could_serve(view: ServingView, group: Group, wanted: Rendered | None) -> bool:
    """Return whether a revision that no status tells of has served: the wanted one only if it is complete."""
    enough = max(1, declared_replicas(view)) if wanted and group.name == wanted.name else 1
    return group.ready >= enough and bool(group.package.uri)


def _is_promoted(view: ServingView, fleet: Fleet, stable: Role | None, candidate: Role) -> bool:
    complete = candidate.name in fleet and size_of(fleet, candidate).ready >= declared_replicas(view)
    gone = stable is None or size_of(fleet, stable).existing == 0
    return complete and gone and not view.serving.spec.paused
