"""Retention with the whole operator and a store: whatever crashes, what is served or kept is never deleted."""

import hashlib
from typing import Any

import pytest

from modelyard.contract.retention import Collected, Collection
from modelyard.contract.wire import Published, Termination
from tests.simulation.test_main_job import crash_at, served
from tests.support.operating import Story, serving, training

Json = dict[str, Any]
OUTPUT = "pvc://models/digits"


def with_store(story: Story) -> set[str]:
    """Give the story a store that its runs publish to and its collections delete from; return the packages in it."""
    packages: set[str] = set()

    def train(document: Json) -> tuple[int, str]:
        run, step = document["run"], int(document["hyperparameters"].get("step", 1))
        uri = f"{OUTPUT}/runs/{run}/attempts/{step}-pod"
        packages.add(uri)
        digest = f"sha256:{hashlib.sha256(uri.encode()).hexdigest()}"
        published = Published(step=step, uri=uri, digest=digest, metrics={"accuracy": 0.97})
        return 0, Termination(phase="Done", step=step, published=[published]).model_dump_json(by_alias=True)

    def collect(document: Json) -> str:
        told = Collection.model_validate(document)
        assert packages & set(told.kept), "the store must be seen to hold what is kept"
        gone = [item for item in told.expire if item.uri not in told.kept and item.digest not in told.kept_digests]
        packages.difference_update(item.uri for item in gone)
        return Collected(packages=[item.checkpoint for item in gone]).model_dump_json(by_alias=True)

    story.world.train, story.world.collect = train, collect
    story.world.training_seconds = 1.0
    return packages


def spec(step: int) -> Json:
    return training(hyperparameters={"step": step}, retention={"keep": 2}, ttlSecondsAfterFinished=0)


def in_use(story: Story) -> set[str]:
    """Return the packages that a serving names, and those whose checkpoints are there."""
    status = story.get("ModelServing", "digits").get("status", {})
    roles = [status.get(role) for role in ("stable", "candidate")]
    listed = {item["spec"]["uri"] for item in story.api.of_kind("ModelCheckpoint")}
    return listed | {role["uri"] for role in roles if role}


async def train_four_and_wait(story: Story) -> None:
    packages = with_store(story)
    for step in range(1, 5):
        story.apply(spec(step), *([serving()] if step == 1 else []))
        await story.until(lambda step=step: len(story.api.of_kind("ModelCheckpoint")) == step)
        await story.until(
            lambda: story.is_ready("ModelServing", "digits") and story.is_ready("ModelTraining", "digits")
        )
    story.clock.seconds += 3700
    for _ in range(100):
        await story.second()
        assert in_use(story) <= packages
        if story.operator is not None and story.clock.seconds % 20 == 0:
            await story.operator.resync.once()
    assert len(packages) == 2
    assert served(story)


@pytest.fixture(scope="module")
def undisturbed() -> Story:
    return Story().run(train_four_and_wait)


def test_old_packages_go_and_what_is_served_stays(undisturbed: Story):
    status = undisturbed.get("ModelTraining", "digits")["status"]
    assert (status["retention"]["collected"], status["retention"]["expiring"]) == (2, [])
    assert len(undisturbed.api.of_kind("ModelCheckpoint")) == 2
    collections = [pod for pod in undisturbed.world.started if "digits-" in pod]
    assert len(collections) == 5


def test_a_crash_at_any_write_of_collecting_loses_nothing(undisturbed: Story):
    writes = undisturbed.api.writes
    first = next(number for number, write in enumerate(writes) if write.startswith("DELETE ModelCheckpoint"))
    for done in (False, True):
        for number in range(first - 2, len(writes) + 2):
            story = Story()
            crash_at(story, number, done=done)
            story.run(train_four_and_wait)
            assert story.get("ModelTraining", "digits")["status"]["retention"]["collected"] == 2


def by_hand(uri: str, digest: str) -> Json:
    metadata = {"name": "by-hand", "namespace": "team"}
    spec = {"uri": uri, "digest": digest}
    return {"apiVersion": "modelyard.dev/v1alpha1", "kind": "ModelCheckpoint", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("kind", ["ModelServing", "ModelCheckpoint"])
def test_a_package_that_a_person_names_stays(kind: str):
    async def play(story: Story) -> None:
        packages = with_store(story)
        for step in range(1, 5):
            story.apply(spec(step), *([serving()] if step == 1 else []))
            await story.until(lambda step=step: len(story.api.of_kind("ModelCheckpoint")) == step)
        [first] = [item["spec"] for item in story.api.of_kind("ModelCheckpoint") if item["spec"]["step"] == 1]
        named = {"uri": first["uri"], "digest": first["digest"]}
        story.clock.seconds += 3700
        story.apply(serving("pinned", model=named) if kind == "ModelServing" else by_hand(**named))
        await story.until(lambda: len(packages) == 3, 600)
        story.clock.seconds += 3700
        await story.settle(60)
        assert (len(packages), first["uri"] in packages) == (3, True)

    Story().run(play)
