"""Whatever happens in whatever order, crashes included: no gap in service, and the end is what the spec asks for."""

from collections.abc import Callable
from random import Random

import pytest

from modelyard.contract.meta import ConditionType
from modelyard_operator.troubles import is_ready
from tests.support.objects import checkpoint, serving, waiting
from tests.unit.operator.serving.scene import Scene, serve


class Story:
    """A serving to which things happen."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.scene = serve(serving(replicas=self.random.randint(1, 6)))
        self.published = 1

    def publish(self) -> None:
        self.published += 1
        number = self.published
        self.scene.publish(checkpoint(f"digits-{number}", number=number, age=60 - number))

    def change_image(self) -> None:
        self.scene.change(image=f"own:{self.random.randint(1, 3)}")

    def pause(self) -> None:
        self.scene.change(paused=self.random.random() < 0.5)

    def break_candidate(self) -> None:
        candidate = self.scene.view.serving.status.candidate
        if candidate is not None and self.ready_pods(candidate.name) == 0 and candidate.name in self.scene.deployments:
            self.scene.breaks(candidate.name, waiting("ImagePullBackOff"))

    def ready_pods(self, revision: str = "") -> int:
        return sum(
            is_ready(pod) and revision in ("", pod["metadata"]["labels"]["modelyard.dev/revision"])
            for pod in self.scene.view.pods
        )

    def pass_time(self) -> None:
        self.scene.wait(self.random.choice([1, 60, 700]))

    def crash(self) -> None:
        self.scene.crash(self.random.randint(0, 6))

    def happenings(self) -> list[Callable[[], object]]:
        often: list[Callable[[], object]] = [self.scene.act, self.scene.ready, self.crash]
        return [*often, *often, self.publish, self.change_image, self.pause, self.break_candidate, self.pass_time]

    def check(self) -> None:
        scene, declared = self.scene, self.scene.view.serving.spec.replicas
        assert self.ready_pods() >= declared
        assert sum(scene.sizes.values()) <= declared + max(1, -(-declared // 4))


@pytest.mark.parametrize("seed", range(150))
def test_no_story_makes_a_gap_and_each_has_a_good_end(seed: int) -> None:
    story = Story(seed)
    scene = story.scene
    for _ in range(60):
        story.random.choice(story.happenings())()
        story.check()
    scene.broken.clear()
    scene.change(paused=False, annotations={"modelyard.dev/restart": "end"})
    scene.act()
    scene.settle()
    story.check()
    assert list(scene.sizes.values()) == [scene.view.serving.spec.replicas]
    assert scene.status.stable is not None
    assert scene.status.stable.checkpoint == f"digits-{story.published}"
    assert scene.told(ConditionType.READY)[0] == "True"


@pytest.mark.parametrize("writes", range(7))
@pytest.mark.parametrize("passes", range(6))
def test_a_crash_at_any_write_of_any_pass_ends_the_same(writes: int, passes: int) -> None:
    def rollout() -> Scene:
        scene = serve(serving())
        scene.publish(checkpoint("digits-2", number=2, age=10))
        return scene

    plain, crashed = rollout(), rollout()
    plain.act()
    for _ in range(passes):
        crashed.act()
        crashed.ready()
    crashed.crash(writes)
    plain.settle()
    crashed.settle()
    assert crashed.sizes == plain.sizes
    assert crashed.status == plain.status
