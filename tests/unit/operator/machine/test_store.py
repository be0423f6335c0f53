"""The store and what a change in it wakes."""

import pytest

from modelyard_operator.noticing import Notices
from modelyard_operator.store import Key, Store, key_of, project
from modelyard_operator.workqueue import WorkQueue

TRAINING = Key("ModelTraining", "team", "digits")
SERVING = Key("ModelServing", "team", "digits")
CHECKPOINT = Key("ModelCheckpoint", "team", "digits-1")


def body(key: Key, version: int = 1, **more):
    metadata = {"name": key.name, "namespace": key.namespace, "uid": f"uid-{key.name}", "resourceVersion": str(version)}
    metadata |= more.pop("metadata", {})
    return {"apiVersion": "v1", "kind": key.kind, "metadata": metadata, **more}


def training(version: int = 1, generation: int = 1, **status):
    return body(TRAINING, version, metadata={"generation": generation}, spec={}, status=status)


def serving(version: int = 1, **status):
    return body(SERVING, version, spec={"model": {"training": "digits"}}, status=status)


def checkpoint(version: int = 1):
    return body(CHECKPOINT, version, spec={"training": "digits"})


def pod(name: str, version: int = 1, **labels: str):
    spec = {"containers": [{"name": "trainer", "image": "i", "env": [1]}], "nodeName": "n"}
    status = {"phase": "Running", "podIP": "10.0.0.1", "qosClass": "Burstable"}
    metadata = {"labels": labels, "managedFields": [1]}
    return body(Key("Pod", "team", name), version, spec=spec, status=status, metadata=metadata)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(lambda: 0.0, lambda: 0.5)


@pytest.fixture
def notices(store: Store, queue: WorkQueue) -> Notices:
    return Notices(store, queue)


def woken(queue: WorkQueue) -> set[Key]:
    keys = set()
    while (key := queue.take()) is not None:
        keys.add(key)
        queue.done(key)
    return keys


def test_only_what_passes_look_at_is_kept():
    kept = project(pod("p"))
    assert kept["spec"] == {"containers": [{"name": "trainer", "image": "i"}]}
    assert kept["status"] == {"phase": "Running", "podIP": "10.0.0.1"}
    assert "managedFields" not in kept["metadata"]


def test_an_older_state_is_ignored_and_another_one_is_not(store: Store):
    store.put(training(version=10, phase="Running"))
    store.put(training(version=9, phase="Pending"))
    assert store.get(TRAINING)["status"] == {"phase": "Running"}
    store.put(training(version=11, phase="Succeeded"))
    assert store.get(TRAINING)["status"] == {"phase": "Succeeded"}


def test_a_list_replaces_a_kind_and_tells_what_differs(store: Store):
    for name in ("kept", "gone", "changed"):
        store.put(pod(name, **{"modelyard.dev/training": "digits"}))
    fresh = [pod("kept"), pod("changed", version=2), pod("new")]
    told = [
        (before and before["metadata"]["name"], after and after["metadata"]["name"])
        for before, after in store.replace("Pod", fresh)
    ]
    assert sorted(told, key=str) == sorted([("gone", None), ("changed", "changed"), (None, "new")], key=str)
    assert {key.name for key in store.keys("Pod")} == {"kept", "changed", "new"}


def test_relations_follow_labels_as_they_change(store: Store):
    store.put(pod("p", **{"modelyard.dev/training": "digits"}))
    assert len(store.related("Pod", TRAINING)) == 1
    store.put(pod("p", version=2))
    assert store.related("Pod", TRAINING) == []


def test_a_child_wakes_its_parent_and_an_unchanged_one_nobody(notices: Notices, queue: WorkQueue):
    notices.seen(pod("p", **{"modelyard.dev/serving": "digits"}))
    assert woken(queue) == {SERVING}
    notices.seen(pod("p", **{"modelyard.dev/serving": "digits"}))
    assert woken(queue) == set()
    notices.gone(pod("p"))
    assert woken(queue) == {SERVING}


def test_a_checkpoint_wakes_its_training_and_whoever_follows_it(notices: Notices, queue: WorkQueue):
    notices.seen(serving())
    woken(queue)
    notices.seen(checkpoint())
    assert woken(queue) == {CHECKPOINT, TRAINING, SERVING}


def test_progress_of_a_training_wakes_only_itself_but_a_new_gate_wakes_all(notices: Notices, queue: WorkQueue):
    for item in (training(), serving(), checkpoint()):
        notices.seen(item)
    woken(queue)
    notices.seen(training(version=2, progress=1))
    assert woken(queue) == {TRAINING}
    notices.seen(training(version=3, generation=2))
    assert woken(queue) == {TRAINING, SERVING, CHECKPOINT}


def test_a_serving_that_turns_to_another_checkpoint_wakes_both(notices: Notices, queue: WorkQueue):
    notices.seen(serving(stable={"checkpoint": "digits-1"}))
    woken(queue)
    notices.seen(serving(version=2, stable={"checkpoint": "digits-2"}))
    assert woken(queue) == {SERVING, CHECKPOINT, Key("ModelCheckpoint", "team", "digits-2")}


def test_a_replaced_kind_wakes_whom_it_corrects(notices: Notices, queue: WorkQueue):
    notices.seen(checkpoint())
    woken(queue)
    assert notices.replaced("ModelCheckpoint", [checkpoint()]) == 0
    assert woken(queue) == set()
    assert notices.replaced("ModelCheckpoint", []) == 1
    assert woken(queue) == {CHECKPOINT, TRAINING}
    assert key_of(checkpoint()) == CHECKPOINT
