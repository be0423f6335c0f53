"""Several processes on the real cluster; runs that are evicted and suspended on the way; runs that wait in a queue."""

import json
from typing import Any

from tests.support.kubectl import Kubectl, condition, wait_until

Json = dict[str, Any]

SCRIPT = """
import time
import keras
import numpy as np
import modelyard
from modelyard.contract.package import Features, Labels, NumberFeature, Output, OutputKind

run = modelyard.run()
ROWS, STEPS = 320, 10
random = np.random.default_rng(5)
x = random.normal(size=ROWS).astype("float32")
y = (x + random.normal(size=ROWS) > 0)[:, None].astype("float32")
with run.strategy.scope():
    number = keras.Input((), name="number")
    hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Reshape((1,))(number))
    hidden = keras.layers.Dropout(run.hyperparameter("dropout", 0.0), seed=3)(hidden)
    model = keras.Model({"number": number}, {"positive": keras.layers.Dense(1, activation="sigmoid")(hidden)})
    model.compile("adam", "binary_crossentropy")

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(run.hyperparameter("pause", 0.0))

callback = run.callback()
batches = run.batches({"number": x}, {"positive": y}, batch_size=ROWS // STEPS)
model.fit(batches, epochs=run.hyperparameter("epochs", 6), initial_epoch=run.initial_epoch, verbose=2,
          callbacks=[callback, Slow()])
losses = {f"loss_{epoch}": values["loss"] for epoch, values in enumerate(callback.history)}
weights = {f"weights_{place}": float(np.abs(array).sum()) for place, array in enumerate(model.get_weights())}
run.publish(model, features=Features(features=[NumberFeature(name="number")]),
            labels=Labels(outputs=[Output(name="positive", kind=OutputKind.PROBABILITY)]),
            metrics=losses | weights, holdout={"number": x[:40]}, samples=[{"number": 0.5}])
"""


def train(kubectl: Kubectl, name: str, **spec: Any) -> None:
    """Apply a training of the script."""
    known: Json = {"script": {"configMap": "small-script"}, "output": {"uri": f"pvc://models/{name}"}}
    known["gate"] = {"metrics": [{"name": "loss_5", "ceiling": 1.0}]}
    script = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "small-script"},
        "data": {"train.py": SCRIPT},
    }
    training = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": name}}
    kubectl.apply(script, training | {"spec": known | spec})


def run_of(kubectl: Kubectl, name: str) -> Json:
    return kubectl.get("modeltraining", name).get("status", {}).get("run") or {}


def metrics_of(kubectl: Kubectl, name: str) -> dict[str, float]:
    """Wait until a training has passed its gate; return the metrics of its package."""

    def passed() -> str:
        training = kubectl.get("modeltraining", name)
        assert condition(training, "Stalled")[0] != "True", training["status"]
        observed = training.get("status", {}).get("observedGeneration") == training["metadata"]["generation"]
        is_passed = observed and condition(training, "Ready")[0] == "True"
        return training["status"]["champion"]["name"] if is_passed else ""

    checkpoint = wait_until(passed, 300, f"modeltraining {name} has passed")
    return kubectl.get("modelcheckpoint", checkpoint)["spec"]["metrics"]


def pods_of(kubectl: Kubectl, run: str, index: int = 0) -> list[Json]:
    selector = f"modelyard.dev/run={run},batch.kubernetes.io/job-completion-index={index}"
    pods = kubectl.list("pods", selector)
    return [pod for pod in pods if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]]


def evict(kubectl: Kubectl, pod: str) -> None:
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": kubectl.namespace},
    }
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))


def test_two_workers_one_of_them_killed_end_published_with_the_numbers_of_one(cluster: Kubectl):
    pace = {"hyperparameters": {"pause": 0.25}, "checkpointing": {"everySteps": 5}}
    train(cluster, "pair", distribution={"workers": 2}, **pace)
    wait_until(lambda: (run_of(cluster, "pair").get("savedStep") or 0) >= 10, 200, "a state is saved")
    run = run_of(cluster, "pair")
    assert (run["tasks"], run["readyTasks"], run["phase"]) == (2, 2, "Running")
    [worker] = pods_of(cluster, run["name"], 1)
    cluster("delete", "pod", worker["metadata"]["name"], "--grace-period=0", "--force")
    wait_until(lambda: (run_of(cluster, "pair").get("resumedStep") or 0) >= 10, 200, "both go on from a saved state")
    two = metrics_of(cluster, "pair")
    ended = run_of(cluster, "pair")
    assert (ended["name"], ended["attempts"]) == (run["name"], 2)
    assert [item["metadata"]["name"] for item in cluster.list("services", "modelyard.dev/training=pair")] == [
        "pair-workers"
    ]
    train(cluster, "pair", hyperparameters={"pause": 0.0})
    wait_until(lambda: run_of(cluster, "pair").get("name") != run["name"], 60, "another run begins")
    one = metrics_of(cluster, "pair")
    assert one.keys() == two.keys()
    assert max(abs(one[name] - two[name]) for name in one) < 1e-5
    for kind in ("services", "networkpolicies"):
        assert cluster.list(kind, "modelyard.dev/training=pair") == []


def test_a_run_evicted_three_times_and_suspended_ends_with_the_very_metrics_of_an_undisturbed_one(cluster: Kubectl):
    train(cluster, "calm", hyperparameters={"dropout": 0.4})
    train(cluster, "stormy", hyperparameters={"dropout": 0.4, "pause": 0.6})
    for attempt in (1, 2, 3):
        name = wait_until(lambda number=attempt: training_attempt(cluster, "stormy", number), 120, "it trains")
        [pod] = pods_of(cluster, name)
        evict(cluster, pod["metadata"]["name"])
    wait_until(lambda: training_attempt(cluster, "stormy", 4), 120, "it trains again")
    cluster.patch("modeltraining", "stormy", {"spec": {"suspend": True}})
    wait_until(lambda: unfinished_pods(cluster, name) == [], 90, "no pod runs")
    wait_until(lambda: run_of(cluster, "stormy")["phase"] == "Suspended", 30, "the status says so")
    cluster.patch("modeltraining", "stormy", {"spec": {"suspend": False}})
    assert metrics_of(cluster, "stormy") == metrics_of(cluster, "calm")
    ended = run_of(cluster, "stormy")
    assert (ended["name"], ended["attempts"]) == (name, 5)
    assert ended["resumedStep"] > 0


def training_attempt(kubectl: Kubectl, training: str, attempt: int) -> str:
    """Return the run's name once its attempt of that number has trained some steps."""
    run = run_of(kubectl, training)
    trains = run.get("attempts") == attempt and run.get("phase") == "Running" and run.get("activity") == "Training"
    return run["name"] if trains and run.get("step", 0) > run.get("resumedStep", 0) else ""


def unfinished_pods(kubectl: Kubectl, run: str) -> list[Json]:
    pods = kubectl.list("pods", f"modelyard.dev/run={run}")
    return [pod for pod in pods if pod["status"]["phase"] in ("Pending", "Running")]


def test_a_queued_run_waits_until_the_queue_admits_it(cluster: Kubectl):
    """The queue's part is played by hand: it sets `suspend` to false, as Kueue does."""
    train(cluster, "queued", queueName="team")
    wait_until(lambda: run_of(cluster, "queued").get("reason") == "Queued", 30, "it is queued")
    name = run_of(cluster, "queued")["name"]
    job = cluster.get("job", name)
    assert (job["spec"]["suspend"], job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]) == (True, "team")
    cluster.patch("job", name, {"spec": {"suspend": False}})
    metrics_of(cluster, "queued")
    assert cluster.get("job", name)["spec"]["suspend"] is False
