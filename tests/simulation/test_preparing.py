"""Prepare steps with the whole operator: in order and once each, whatever crashes."""

import pytest

from tests.simulation.test_main_job import crash_at
from tests.support.operating import Story, training

ROWS = {"name": "rows", "module": "m.rows", "output": {"uri": "pvc://models/rows"}}
WORDS = {"name": "words", "module": "m.words", "output": {"uri": "pvc://models/words"}}


async def train_twice(story: Story) -> None:
    """Train, then with another hyperparameter and another second step; finished Jobs go at once."""
    story.world.training_seconds = 1.0
    runs = ({}, {"prepare": [ROWS, WORDS | {"module": "m.more"}], "hyperparameters": {"step": 20}})
    for count, change in enumerate(runs, 1):
        story.apply(training(**({"prepare": [ROWS, WORDS], "ttlSecondsAfterFinished": 0} | change)))
        await story.until(lambda count=count: len(story.api.of_kind("ModelCheckpoint")) == count)
        await story.until(lambda: story.is_ready("ModelTraining", "digits"))


def begun(story: Story) -> list[str]:
    """Return what was worked on, in order: each pod that a Job has started, without its number."""
    return [name.rpartition("-")[0] for name in story.world.started]


def come_to(story: Story) -> dict[str, object]:
    status = story.get("ModelTraining", "digits")["status"]
    return {
        "prepared": [(item["name"], item["job"], item["message"]) for item in status["prepared"]],
        "checkpoints": [body["metadata"]["name"] for body in story.api.of_kind("ModelCheckpoint")],
        "configs": sorted(key.name for key in story.api.objects if key.kind == "ConfigMap"),
        "phase": status["phase"],
        "begun": begun(story),
    }


@pytest.fixture(scope="module")
def undisturbed() -> Story:
    return Story().run(train_twice)


def test_each_step_is_done_once_and_before_the_training(undisturbed: Story):
    names = ["-".join(name.split("-")[:-1]) for name in begun(undisturbed)]
    assert names == ["digits-rows", "digits-words", "digits", "digits-words", "digits"]
    assert [name for name, _, _ in come_to(undisturbed)["prepared"]] == ["rows", "words", "words"]


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_crash_at_any_write_prepares_nothing_twice(undisturbed: Story, done: bool):
    expected, counted = come_to(undisturbed), []
    story = Story()
    story.api.fault = lambda method, path, is_done: counted.append(path) if not is_done else None
    story.run(train_twice)
    assert len(counted) > 30
    for number in range(len(counted)):
        story = Story()
        crash_at(story, number, done=done)
        assert come_to(story.run(train_twice)) == expected, f"crash {'after' if done else 'before'} write {number}"
        assert story.lives == 2
