"""The whole operator on a cluster in memory: from a manifest to pods that serve, and every change after it."""

import pytest

from tests.support.cluster import Crash
from tests.support.operating import Story, serving, training


async def serve_two_models(story: Story) -> None:
    """Train and serve a model, then a better one; a third that is worse is refused."""
    story.apply(training(), serving())
    await story.until(lambda: story.is_ready("ModelServing", "digits"))
    first = served(story)
    story.apply(training(hyperparameters={"accuracy": 0.98, "step": 20}))
    await story.until(lambda: served(story) != first and story.is_ready("ModelServing", "digits"))
    story.apply(training(hyperparameters={"accuracy": 0.5, "step": 30}))
    await story.until(lambda: len(story.api.of_kind("ModelCheckpoint")) == 3)
    await story.settle()


def served(story: Story) -> str:
    return story.get("ModelServing", "digits").get("status", {}).get("stable", {}).get("digest", "")


def end_state(story: Story) -> dict[str, object]:
    """Return what a story comes to, without times."""
    objects = story.api.objects
    return {
        "jobs": [key.name for key in objects if key.kind == "Job"],
        "configs": sorted(key.name for key in objects if key.kind == "ConfigMap"),
        "checkpoints": {
            body["metadata"]["name"]: body["status"]["gate"] for body in story.api.of_kind("ModelCheckpoint")
        },
        "deployments": {body["metadata"]["name"]: body["spec"]["replicas"] for body in story.api.of_kind("Deployment")},
        "services": sorted(key.name for key in objects if key.kind in ("Service", "PodDisruptionBudget")),
        "serving": {
            key: story.get("ModelServing", "digits")["status"].get(key) for key in ("ready", "phase", "candidate")
        },
        "training": story.get("ModelTraining", "digits")["status"]["phase"],
        "ready pods": story.ready_pods(),
    }


@pytest.fixture(scope="module")
def undisturbed() -> Story:
    return Story().run(serve_two_models)


def test_good_models_are_served_and_a_worse_one_is_refused(undisturbed: Story):
    gates = [body["status"]["gate"] for body in undisturbed.api.of_kind("ModelCheckpoint")]
    assert sorted(gate.split(":")[0] for gate in gates) == ["Failed", "Passed", "Passed"]
    serving_status = undisturbed.get("ModelServing", "digits")["status"]
    assert serving_status["stable"]["metrics"] == {"accuracy": 0.98}
    assert serving_status["ready"] == "3/3"
    assert len(undisturbed.api.of_kind("Deployment")) == 1
    status = undisturbed.get("ModelTraining", "digits")["status"]
    assert "0.5 is below the floor 0.9" in status["gate"]


def writes_of(story: Story) -> int:
    return len([write for write in story.api.writes if not write.startswith("CREATE Event")])


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_crash_at_any_write_changes_nothing_of_the_end(undisturbed: Story, done: bool):
    expected = end_state(undisturbed)
    requests = count_requests()
    assert requests > 30
    for number in range(requests):
        story = Story()
        crash_at(story, number, done=done)
        story.run(serve_two_models)
        assert end_state(story) == expected, f"crash {'after' if done else 'before'} write {number}"
        assert story.lives == 2


def count_requests() -> int:
    story, counted = Story(), []
    story.api.fault = lambda method, path, done: counted.append(path) if not done else None
    story.run(serve_two_models)
    return len(counted)


def crash_at(story: Story, number: int, *, done: bool) -> None:
    seen = iter(range(10**6))

    def fault(method: str, path: str, is_done: bool) -> None:
        if is_done == done and next(seen) == number:
            raise Crash

    story.api.fault = fault


def test_nothing_is_written_when_nothing_changes_and_after_a_restart():
    async def play(story: Story) -> None:
        await serve_two_models(story)
        before = len(story.api.writes)
        await story.settle(30)
        await story.restart()
        await story.settle(600)
        story.apply(training(hyperparameters={"accuracy": 0.5, "step": 30}), serving())
        await story.settle(30)
        assert story.api.writes[before:] == []

    Story().run(play)
