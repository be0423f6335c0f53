"""Whole rollouts, step by step: the planner against simulated controllers, in the plain order and in random orders."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from modelyard_operator.serving.planner import Situation, Size, plan
from tests.support.golden import Golden

STEPS = 400


@dataclass
class Revision:
    """A Deployment and its pods: True is ready."""

    works: bool = True
    desired: int = 0
    pods: list[bool] = field(default_factory=list)

    @property
    def size(self) -> Size:
        return Size(self.desired, len(self.pods), sum(self.pods))

    def scale(self) -> None:
        """Act as the ReplicaSet controller: unready pods go first."""
        self.pods.sort(reverse=True)
        self.pods = self.pods[: self.desired] + [False] * (self.desired - len(self.pods))

    def start(self) -> None:
        """Act as the kubelet: one pod becomes ready."""
        if self.works and False in self.pods:
            self.pods[self.pods.index(False)] = True


@dataclass
class Rollout:
    """A serving as the planner sees it, and the bounds that must hold."""

    declared: int
    surge: int
    target: Revision
    keeper: Revision | None = None
    leftovers: list[Revision] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[Revision]:
        return [self.target, *([self.keeper] if self.keeper else []), *self.leftovers]

    @property
    def ready(self) -> int:
        return sum(sum(revision.pods) for revision in self.all)

    @property
    def total(self) -> int:
        return sum(len(revision.pods) for revision in self.all)

    @property
    def room(self) -> int:
        """The pods that may come before the planner speaks again."""
        return sum(revision.size.room for revision in self.all)

    def situation(self) -> Situation:
        keeper = self.keeper.size if self.keeper else None
        leftovers = tuple(revision.size for revision in self.leftovers)
        return Situation(self.declared, self.surge, self.target.size, keeper, leftovers)

    def decide(self) -> None:
        """Act as the operator; one line of log whenever something changes."""
        counts = plan(self.situation())
        wanted = [counts.target, *([counts.keeper] if self.keeper else []), *counts.leftovers]
        if wanted == [revision.desired for revision in self.all]:
            return
        for revision, count in zip(self.all, wanted, strict=True):
            revision.desired = count
        sizes = " ".join(f"{sum(revision.pods)}/{len(revision.pods)}" for revision in self.all)
        self.log.append(f"ready/pods {sizes:<16} -> {' '.join(map(str, wanted)):<8} {counts.note}")

    def actors(self) -> list[Callable[[], None]]:
        moves: list[Callable[[], None]] = [self.decide]
        for revision in self.all:
            moves += [revision.scale, revision.start]
        return moves

    @property
    def done(self) -> bool:
        idle = all(revision.desired == len(revision.pods) for revision in self.all)
        gone = not any(revision.pods for revision in self.all if revision is not self.target)
        return idle and gone and self.target.size.ready == self.declared


def serving(count: int, *, works: bool = True, ready: int | None = None) -> Revision:
    up = count if ready is None else ready
    return Revision(works, count, [True] * up + [False] * (count - up))


def run(rollout: Rollout, random: Random | None = None) -> None:
    """Let everyone act until the target alone serves; check both promises after each act."""
    floor, ceiling = min(rollout.ready, rollout.declared), rollout.declared + rollout.surge
    most = max(ceiling, rollout.room)
    for _ in range(STEPS):
        actors = rollout.actors()
        for act in random.sample(actors, len(actors)) if random else actors:
            act()
            assert rollout.ready >= floor, rollout.log
            assert rollout.total <= most, rollout.log
        floor = max(floor, min(rollout.ready, rollout.declared))
        most = max(ceiling, min(most, rollout.room))
        if rollout.done:
            return
    raise AssertionError("the rollout does not come to its end:\n" + "\n".join(rollout.log))


SEQUENCES: dict[str, Callable[[], Rollout]] = {
    "first revision": lambda: Rollout(3, 1, Revision()),
    "three pods, one more allowed": lambda: Rollout(3, 1, Revision(), serving(3)),
    "ten pods, three more allowed": lambda: Rollout(10, 3, Revision(), serving(10)),
    "one pod": lambda: Rollout(1, 1, Revision(), serving(1)),
    "no pods": lambda: Rollout(0, 1, Revision(), serving(0)),
    "scaled up on the way": lambda: Rollout(8, 2, serving(2), serving(3)),
    "scaled down on the way": lambda: Rollout(2, 1, serving(3), serving(5)),
    "the stable revision is broken": lambda: Rollout(4, 1, Revision(), serving(4, works=False, ready=0)),
    "half of the stable revision is broken": lambda: Rollout(4, 1, Revision(), serving(4, works=False, ready=2)),
    "a third revision on the way": lambda: Rollout(4, 1, Revision(), serving(2), [serving(3, ready=2)]),
    "a third revision, the second broken": lambda: Rollout(
        4, 1, Revision(), serving(4), [serving(1, works=False, ready=0)]
    ),
    "a rejected revision goes": lambda: Rollout(4, 1, serving(2), None, [serving(3, works=False, ready=2)]),
    "two rejected revisions go": lambda: Rollout(5, 2, serving(3), None, [serving(1), serving(2, ready=1)]),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_rollout_goes_as_recorded(name: str, golden: Golden) -> None:
    rollout = SEQUENCES[name]()
    run(rollout)
    golden.text(f"rollouts/{name.replace(' ', '_').replace(',', '')}.log", "\n".join([name, *rollout.log]))


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("seed", range(30))
def test_both_promises_hold_in_any_order(name: str, seed: int) -> None:
    run(SEQUENCES[name](), Random(seed))


@pytest.mark.parametrize("seed", range(200))
def test_any_rollout_comes_to_its_end_within_the_bounds(seed: int) -> None:
    random = Random(seed)
    declared, surge = random.randint(0, 12), random.randint(1, 4)
    run(Rollout(declared, surge, Revision(), serving(declared)), random)


@pytest.mark.parametrize("seed", range(60))
def test_the_count_may_change_at_any_moment(seed: int) -> None:
    random = Random(seed)
    rollout = Rollout(random.randint(1, 10), random.randint(1, 3), Revision(), serving(0))
    rollout.keeper = serving(rollout.declared)
    for _ in range(random.randint(0, 5)):
        for act in random.sample(rollout.actors(), len(rollout.actors())):
            act()
    rollout.declared = random.randint(0, 14)
    run(rollout, random)


@pytest.mark.parametrize("seed", range(60))
def test_pods_that_fail_on_the_way_are_made_up_for(seed: int) -> None:
    random = Random(seed)
    rollout = Rollout(random.randint(2, 10), random.randint(1, 3), Revision(), serving(0))
    rollout.keeper = serving(rollout.declared)
    for _ in range(random.randint(1, 4)):
        for act in random.sample(rollout.actors(), len(rollout.actors())):
            act()
    for revision in rollout.all:
        revision.pods = [ready and random.random() > 0.5 for ready in revision.pods]
    run(rollout, random)


def test_a_broken_target_never_takes_a_ready_pod_away() -> None:
    rollout = Rollout(4, 1, Revision(works=False), serving(4))
    with pytest.raises(AssertionError, match="does not come to its end"):
        run(rollout)
    assert rollout.keeper == serving(4)
    assert rollout.target.desired == 1


def test_a_paused_rollout_rests() -> None:
    frozen = plan(Situation(4, 1, Size(2, 2, 2), Size(2, 2, 2), frozen=True))
    assert (frozen.target, frozen.keeper, frozen.note) == (2, 2, "paused")


def test_a_paused_rollout_follows_the_declared_count() -> None:
    frozen = plan(Situation(6, 2, Size(2, 2, 2), Size(2, 2, 2), frozen=True))
    assert (frozen.target, frozen.keeper) == (2, 4)


def test_nothing_to_serve_means_no_pods() -> None:
    assert plan(Situation(4, 1, None, leftovers=(Size(1, 1, 0),))).leftovers == (0,)
