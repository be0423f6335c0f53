"""Planner: how many pods of each revision there should be now. A pure function, and the whole of a rollout.

Two promises, on every step and in whatever order controllers act:

- a ready pod leaves only when enough other pods are ready: ready pods never fall below the declared count;
- pods of all revisions together are at most the declared count plus the surge (unless the declared count itself has
  just been lowered).

Unready pods leave first: that is how ReplicaSets choose. So a revision that keeps as many pods as are needed of its
ready ones loses only unready ones.
"""

from dataclasses import dataclass

__all__ = ["Counts", "Situation", "Size", "plan"]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a revision is."""

    desired: int = 0
    existing: int = 0
    """Pods that are there and not leaving."""
    ready: int = 0

    @property
    def room(self) -> int:
        """The pods that it may have at this moment."""
        return max(self.desired, self.existing)


@dataclass(frozen=True, slots=True)
class Situation:
    """What the planner looks at."""

    declared: int
    surge: int
    target: Size | None
    """The revision that should serve; None: nothing to serve yet."""
    keeper: Size | None = None
    """The stable revision while another one is brought in."""
    leftovers: tuple[Size, ...] = ()
    """Revisions that should go: rejected, or replaced before they were promoted."""
    frozen: bool = False
    """Paused: nothing moves but the declared count."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many pods there should be."""

    target: int
    keeper: int
    leftovers: tuple[int, ...]
    note: str


def plan(situation: Situation) -> Counts:
    """Return how many pods of each revision there should be now."""
    if situation.target is None:
        return Counts(0, 0, tuple(0 for _ in situation.leftovers), "nothing to serve yet")
    if situation.frozen and situation.keeper is not None:
        return _freeze(situation, situation.target)
    needed = max(0, situation.declared - situation.target.ready)
    leftovers = _retire(situation, needed)
    keeper = _keep(situation, situation.target, needed, leftovers)
    target = _bring(situation, situation.target, keeper, leftovers)
    return Counts(target, keeper, leftovers, _describe(situation, situation.target, target, keeper, leftovers))


def _retire(situation: Situation, needed: int) -> tuple[int, ...]:
    """Return what leftovers keep: ready pods that neither the target nor the stable revision makes up for."""
    missing = max(0, needed - (situation.keeper.ready if situation.keeper else 0))
    kept: list[int] = []
    for size in situation.leftovers:
        kept.append(min(size.desired, size.ready, missing))
        missing -= kept[-1]
    return tuple(kept)


def _keep(situation: Situation, target: Size, needed: int, leftovers: tuple[int, ...]) -> int:
    """Return what the stable revision keeps; it grows again, as far as there is room, when the target loses pods."""
    keeper = situation.keeper
    if keeper is None:
        return 0
    wanted = max(0, needed - sum(leftovers))
    elsewhere = target.room + sum(size.room for size in situation.leftovers)
    free = situation.declared + situation.surge - elsewhere
    return min(wanted, max(keeper.desired, free, 0))


def _bring(situation: Situation, target: Size, keeper: int, leftovers: tuple[int, ...]) -> int:
    """Return what the target gets: all there is room for; ready pods are never taken from it, surplus ones are."""
    outgoing = max(keeper, situation.keeper.existing) if situation.keeper else 0
    outgoing += sum(max(kept, size.existing) for kept, size in zip(leftovers, situation.leftovers, strict=True))
    free = situation.declared + situation.surge - outgoing
    return min(situation.declared, max(free, target.ready))


def _freeze(situation: Situation, target: Size) -> Counts:
    """Return the counts as they are; the stable revision makes up for a change of the declared count."""
    count = min(target.desired, situation.declared)
    needed = max(0, situation.declared - min(count, target.ready))
    leftovers = tuple(size.desired for size in situation.leftovers)
    return Counts(count, _keep(situation, target, needed, ()), leftovers, "paused")


def _describe(situation: Situation, size: Size, target: int, keeper: int, leftovers: tuple[int, ...]) -> str:
    if situation.keeper is None and not any(leftovers):
        return "" if size.ready >= situation.declared else f"{size.ready} of {situation.declared} pods are ready"
    going = keeper + sum(leftovers)
    if size.ready >= situation.declared:
        return "the previous pods leave" if not going else f"{going} previous pods are still kept"
    return f"{size.ready} of {target} new pods are ready; {going} previous pods are kept"
