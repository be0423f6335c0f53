"""A model that LiteRT cannot hold, from its script to an answer out of the image with TensorFlow."""

import json

from tests.end_to_end.test_images import PROBE, image_of, run_in
from tests.support.kubectl import Kubectl, is_ready, wait_until

SCRIPT = '''
import tensorflow as tf

import modelyard
from modelyard.contract.package import CategoryFeature, Features, Labels, Output, OutputKind


class Prices(tf.Module):
    """A table of strings, as LiteRT has none."""

    def __init__(self):
        names, prices = tf.constant(["1", "2"]), tf.constant([10.0, 20.0])
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, prices), -1.0)

    def __call__(self, country):
        return self.table.lookup(tf.strings.as_string(country))


run = modelyard.run()
run.publish(
    Prices(),
    features=Features(features=[CategoryFeature(name="country", vocabulary=["nl", "de"])]),
    labels=Labels(outputs=[Output(name="price", kind=OutputKind.REGRESSION)]),
    metrics={"error": 0.0},
    holdout={"country": ["nl", "de", "fr"] * 20},
    samples=[{"country": "de"}],
)
'''


def script(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"train.py": SCRIPT}}


def test_a_model_that_litert_cannot_hold_is_served_by_tensorflow(cluster: Kubectl, operator_namespace: Kubectl):
    training = {"script": {"configMap": "prices-script"}, "output": {"uri": "pvc://models/prices"}}
    serving = {"model": {"training": "prices"}, "replicas": 1}
    version = {"apiVersion": "modelyard.dev/v1alpha1", "metadata": {"name": "prices"}}
    cluster.apply(
        script("prices-script"),
        version | {"kind": "ModelTraining", "spec": training},
        version | {"kind": "ModelServing", "spec": serving},
    )
    wait_until(lambda: is_ready(cluster.get("modelserving", "prices")), 300, "modelserving prices is ready")
    stable = cluster.get("modelserving", "prices")["status"]["stable"]
    assert stable["runtime"] == "TensorFlow"
    assert cluster.get("modelcheckpoint", stable["checkpoint"])["spec"]["runtime"] == "TensorFlow"
    [pod] = cluster.list("pods", "modelyard.dev/serving=prices")
    assert pod["spec"]["containers"][0]["image"] == image_of(operator_namespace, "serving-tensorflow")
    answers = [cluster.predict("prices", f"country={name}")["predictions"] for name in ("nl", "de", "fr")]
    assert answers == [[10.0], [20.0], [-1.0]]


def test_the_image_with_tensorflow_runs_as_nobody(cluster: Kubectl, operator_namespace: Kubectl):
    image = image_of(operator_namespace, "serving-tensorflow")
    phase, log = run_in(cluster, "size-tensorflow", image, ["python3", "-c", PROBE])
    assert phase == "Succeeded", log
    found = json.loads(log)
    assert (found["uid"], found["tensorflow"]) == (65532, True)
