"""What people get wrong: told in words that name the field, within half a minute, and mended without a restart."""

import json
import subprocess

import pytest

from tests.support.kubectl import ROOT, Kubectl, condition, is_ready, wait_until

TOLD_WITHIN = 30.0

GOOD = """
import keras, numpy as np, modelyard
from modelyard.contract.package import Features, Label, Labels, NumberFeature, Output, OutputKind
run = modelyard.run()
x = np.linspace(0, 1, 64, dtype="float32")[:, None]
inputs = keras.Input((1,), name="x")
model = keras.Model({"x": inputs}, {"y": keras.layers.Dense(1, activation="sigmoid", name="y")(inputs)})
model.compile(loss="binary_crossentropy")
model.fit({"x": x}, {"y": (x > 0.5).astype("float32")}, epochs=1, verbose=0, callbacks=[run.callback()])
features = Features(features=[NumberFeature(name="x")])
labels = Labels(outputs=[Output(name="y", kind=OutputKind.PROBABILITY, labels=[Label(name="y")])])
run.publish(model, features=features, labels=labels, metrics={"accuracy": 1.0}, holdout={"x": x[:, 0]},
            samples=[{"x": 0.25}])
"""


def training(name: str, **spec: object) -> dict:
    base = {"script": {"configMap": f"{name}-script"}, "output": {"uri": f"pvc://models/{name}"}}
    return resource("ModelTraining", name, {**base, **spec})


def resource(kind: str, name: str, spec: dict) -> dict:
    return {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def script(name: str, text: str = GOOD) -> dict:
    metadata = {"name": f"{name}-script"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"train.py": text}}


def told(kubectl: Kubectl, kind: str, name: str) -> str:
    """Return what Ready says, if it says no."""
    status, _, message = condition(kubectl.get(kind, name), "Ready")
    return message if status == "False" else ""


def await_words(kubectl: Kubectl, name: str, *words: str) -> None:
    wait_until(
        lambda: all(word in told(kubectl, "modeltraining", name) for word in words),
        TOLD_WITHIN,
        f"modeltraining {name} says {words}",
    )


def await_trained(kubectl: Kubectl, name: str) -> None:
    wait_until(lambda: is_ready(kubectl.get("modeltraining", name)), 150, f"modeltraining {name} is ready when mended")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (training("bad", output={"uri": "ftp://models/x"}), "spec.output.uri"),
        (training("bad", module="also.this"), "exactly one of"),
        (resource("ModelServing", "bad", {"model": {}, "replicas": 1}), "spec.model"),
        (resource("ModelServing", "bad", {"model": {"training": "digits"}, "replicas": -1}), "spec.replicas"),
        (resource("ModelServing", "bad", {"model": {"training": "digits"}, "replcas": 1}), "replcas"),
    ],
)
def test_an_invalid_spec_is_refused_by_apply_in_words_that_name_the_field(cluster: Kubectl, document, words):
    answer = subprocess.run(
        [*cluster._base, "apply", "--filename=-"], input=json.dumps(document), capture_output=True, text=True
    )
    assert answer.returncode != 0
    assert words in answer.stderr, answer.stderr


def test_a_missing_script_is_told_and_found_when_it_comes(cluster: Kubectl):
    cluster.apply(training("no-script"))
    await_words(cluster, "no-script", "spec.script.configMap", "no-script-script")
    cluster.apply(script("no-script"))
    await_trained(cluster, "no-script")


def test_a_missing_secret_is_told_and_found_when_it_comes(cluster: Kubectl):
    cluster.apply(script("no-secret"), training("no-secret", storage={"secretNames": ["keys"]}))
    await_words(cluster, "no-secret", "keys", "spec.storage.secretNames")
    metadata = {"name": "keys"}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"AWS_REGION": "here"}})
    await_trained(cluster, "no-secret")


def test_an_image_that_cannot_be_pulled_is_told_and_mended_in_the_manifest(cluster: Kubectl):
    cluster.apply(script("no-image"), training("no-image", image="localhost/there-is-no:such-image"))
    await_words(cluster, "no-image", "spec.image", "there-is-no:such-image")
    cluster.patch("modeltraining", "no-image", {"spec": {"image": None}})
    await_trained(cluster, "no-image")


def test_a_script_that_raises_is_told_with_its_line_and_mended_in_the_script(cluster: Kubectl):
    wrong = "import os\nraise ValueError('no such column: prize')\n"
    cluster.apply(script("raises", wrong), training("raises", backoffLimit=0))
    await_words(cluster, "raises", "no such column: prize", "line 2")
    cluster.apply(script("raises"))
    await_trained(cluster, "raises")


def test_an_output_out_of_reach_is_told_and_waited_for(cluster: Kubectl):
    keys = {"AWS_ENDPOINT_URL": "http://192.0.2.99:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "far"}, "stringData": keys}
    storage = {"secretNames": ["far"]}
    cluster.apply(secret, script("far"), training("far", output={"uri": "s3://models/far"}, storage=storage))
    await_words(cluster, "far", "spec.output.uri", "s3://models/far")
    cluster.patch("modeltraining", "far", {"spec": {"output": {"uri": "pvc://models/far"}, "storage": None}})
    await_trained(cluster, "far")


def test_a_request_that_does_not_fit_is_refused_with_the_features_name(digits: Kubectl):
    def answer_to(query: str) -> str:
        url = f"http://digits.{digits.namespace}/v1/models/digits:predict?{query}"
        pod = digits.list("pods", "modelyard.dev/serving=digits")[0]["metadata"]["name"]
        return digits("exec", pod, "--", "python3", "-c", ASK, url)

    good = (ROOT / "config/samples/digits/request.txt").read_text().strip()
    assert "predictions" in answer_to(good)
    for query, name in ((f"{good}&colour=red", "colour"), ("", "pixels"), ("pixels=1,2,three", "pixels")):
        answer = answer_to(query)
        assert answer.startswith("400"), answer
        assert name in answer, answer


def test_a_package_with_one_flipped_byte_is_never_served(digits: Kubectl):
    checkpoint = digits.get("modelserving", "digits")["status"]["stable"]
    source = checkpoint["uri"].removeprefix("pvc://models/")
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    flip = f'cp -r /models/{source} /models/flipped && python3 -c "{FLIP}"'
    image = digits.list("pods", "modelyard.dev/serving=digits")[0]["spec"]["containers"][0]["image"]
    mount = {"name": "models", "mountPath": "/models"}
    container = {"name": "flip", "image": image, "command": ["sh", "-c", flip], "securityContext": security}
    volume = {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
    pod_security = {"runAsUser": 65532, "fsGroup": 65532}
    spec = {"restartPolicy": "Never", "securityContext": pod_security, "volumes": [volume]}
    spec["containers"] = [{**container, "volumeMounts": [mount]}]
    digits.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "flip"}, "spec": spec})
    wait_until(lambda: digits.get("pod", "flip")["status"]["phase"] == "Succeeded", 60, "the byte is flipped")
    model = {"uri": "pvc://models/flipped", "digest": checkpoint["digest"]}
    digits.apply(resource("ModelServing", "flipped", {"model": model, "replicas": 1}))
    wait_until(
        lambda: ".tflite has the SHA-256" in told(digits, "modelserving", "flipped"),
        TOLD_WITHIN,
        "the status names the file",
    )
    status = digits.get("modelserving", "flipped")["status"]
    assert status.get("readyReplicas", 0) == 0
    digits("delete", "modelserving", "flipped", "--wait=false")


ASK = """
import sys, urllib.error, urllib.request
try:
    print(200, urllib.request.urlopen(sys.argv[1]).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""
#: In every variant: which one serves is a matter of what publishing measured.
FLIP = (
    "import pathlib; "
    "[p.write_bytes((d := p.read_bytes())[:1000] + bytes([d[1000] ^ 1]) + d[1001:])"
    " for p in pathlib.Path('/models/flipped').glob('*.tflite')]"
)
