"""The same story when events are lost and the API server is not in the mood."""

import random

import pytest

from modelyard_operator.kube.client import Conflict, Throttled, Unreachable
from modelyard_operator.store import Key
from tests.simulation.test_main_job import end_state, serve_two_models, served
from tests.support.operating import Story, serving, training


@pytest.fixture(scope="module")
def expected() -> dict[str, object]:
    return end_state(Story().run(serve_two_models))


@pytest.mark.parametrize("seed", range(4))
def test_refused_and_unanswered_requests_are_repeated(expected: dict[str, object], seed: int):
    chance = random.Random(seed)

    def fault(method: str, path: str, done: bool) -> None:
        if chance.random() < 0.2:
            raise chance.choice([Conflict, Throttled, Unreachable])("not now")

    async def play(story: Story) -> None:
        story.api.fault = fault
        await serve_two_models(story)
        story.api.fault = lambda method, path, done: None
        await story.settle(150)

    assert end_state(Story().run(play)) == expected


@pytest.mark.parametrize("seed", range(4))
def test_lost_events_are_made_good_by_the_next_resync(expected: dict[str, object], seed: int):
    chance = random.Random(seed)

    async def play(story: Story) -> None:
        story.notice = lambda event, body: chance.random() > 0.4

        async def resync_now_and_then() -> None:
            if story.clock.seconds % 20 == 0 and story.operator is not None:
                await story.operator.resync.once()

        second = story.second

        async def second_with_resync() -> None:
            await resync_now_and_then()
            await second()

        story.second = second_with_resync  # type: ignore[method-assign]
        await serve_two_models(story)
        await story.settle(60)

    assert end_state(Story().run(play)) == expected


def test_ready_pods_never_fall_below_the_declared_number():
    async def play(story: Story) -> None:
        story.apply(training(), serving())
        await story.until(lambda: story.is_ready("ModelServing", "digits"))
        first = served(story)
        least = story.ready_pods()
        story.apply(training(hyperparameters={"accuracy": 0.98, "step": 20}))

        def done() -> bool:
            nonlocal least
            least = min(least, story.ready_pods())
            return served(story) != first and story.is_ready("ModelServing", "digits")

        await story.until(done)
        assert least == 3

    Story().run(play)


def test_a_model_whose_pods_do_not_become_ready_is_turned_back():
    async def play(story: Story) -> None:
        story.apply(training(), serving(rollout={"progressDeadlineSeconds": 60}))
        await story.until(lambda: story.is_ready("ModelServing", "digits"))
        first = served(story)
        story.world.serves = lambda pod: (
            first in pod["metadata"].get("annotations", {}).values() or first in str(pod["spec"])
        )
        story.apply(training(hyperparameters={"accuracy": 0.98, "step": 20}))
        await story.until(lambda: bool(story.get("ModelServing", "digits")["status"].get("rejected")), 200)
        await story.settle(60)
        assert served(story) == first
        assert story.ready_pods() == 3
        assert len(story.api.of_kind("Deployment")) == 1

    Story().run(play)


def test_a_broken_training_leaves_the_service_alone_and_recovers_when_mended():
    async def play(story: Story) -> None:
        story.apply(training(), serving())
        await story.until(lambda: story.is_ready("ModelServing", "digits"))
        before = len(story.api.writes)
        story.apply(training(hyperparameters={"raises": True}))
        await story.until(lambda: story.get("ModelTraining", "digits")["status"]["phase"] == "Failed")
        await story.settle(20)
        assert not [write for write in story.api.writes[before:] if "Deployment" in write or "ModelServing" in write]
        story.apply(training(hyperparameters={"accuracy": 0.99, "step": 40}))
        await story.until(
            lambda: story.get("ModelServing", "digits")["status"]["stable"]["metrics"] == {"accuracy": 0.99}
        )

    Story().run(play)


def test_a_child_that_is_deleted_or_changed_by_hand_comes_back():
    async def play(story: Story) -> None:
        story.apply(training(), serving())
        await story.until(lambda: story.is_ready("ModelServing", "digits"))
        [service] = [key for key in story.api.objects if key.kind == "Service"]
        story.api.remove(service)
        [deployment] = [key for key in story.api.objects if key.kind == "Deployment"]
        story.api.change(deployment, lambda body: body["spec"].update(replicas=1))
        await story.settle(20)
        assert service in story.api.objects
        assert story.api.objects[deployment]["spec"]["replicas"] == 3

    Story().run(play)


def test_a_strangers_service_is_not_taken_over_and_the_serving_says_whose_name_it_wants():
    async def play(story: Story) -> None:
        stranger = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "digits", "namespace": "team"}}
        story.api.apply_as_user(stranger | {"spec": {"ports": [{"port": 5432}]}})
        story.apply(training(), serving())
        await story.settle(60)
        [service] = story.api.of_kind("Service")
        assert service["spec"] == {"ports": [{"port": 5432}]}
        conditions = {item["type"]: item for item in story.get("ModelServing", "digits")["status"]["conditions"]}
        assert conditions["Stalled"]["status"] == "True"
        assert "a Service digits is here already" in conditions["Stalled"]["message"]
        story.api.remove(Key("Service", "team", "digits"))
        await story.until(lambda: story.is_ready("ModelServing", "digits"), 400)

    Story().run(play)


def test_a_service_goes_on_when_its_training_is_deleted():
    async def play(story: Story) -> None:
        story.apply(training(), serving())
        await story.until(lambda: story.is_ready("ModelServing", "digits"))
        first = served(story)
        story.api.remove(Key("ModelTraining", "team", "digits"))
        await story.settle(60)
        assert not story.api.of_kind("ModelCheckpoint")
        assert story.ready_pods() == 3
        assert served(story) == first
        [deployment] = story.api.of_kind("Deployment")
        story.api.change(Key("ModelServing", "team", "digits"), lambda body: body["spec"].update(replicas=4))
        await story.settle(30)
        assert story.ready_pods() == 4
        assert story.api.of_kind("Deployment")[0]["metadata"]["name"] == deployment["metadata"]["name"]

    Story().run(play)


def test_everything_of_a_serving_goes_with_it():
    async def play(story: Story) -> None:
        story.apply(training(), serving())
        await story.until(lambda: story.is_ready("ModelServing", "digits"))
        story.api.remove(Key("ModelServing", "team", "digits"))
        story.api.remove(Key("ModelTraining", "team", "digits"))
        await story.settle(30)
        assert [key for key in story.api.objects if key.kind != "Event"] == []

    Story().run(play)
