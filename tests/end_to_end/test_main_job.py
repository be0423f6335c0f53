"""The main job on the real cluster: from a manifest to a prediction, and through every change after it."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from tests.support.kubectl import ROOT, Kubectl, condition, is_ready, process_of_pod, wait_until

SELECTOR = "modelyard.dev/serving=digits"
OPERATOR = "app.kubernetes.io/name=modelyard-operator"


def query_of(sample: str) -> str:
    return (ROOT / "config/samples" / sample / "request.txt").read_text().strip()


def ready_pods(kubectl: Kubectl) -> list[dict]:
    pods = kubectl.list("pods", SELECTOR)
    return [pod for pod in pods if condition(pod, "Ready")[0] == "True" and "deletionTimestamp" not in pod["metadata"]]


def ready_column(kubectl: Kubectl) -> str:
    return kubectl.get("modelserving", "digits")["status"].get("ready", "")


def test_a_manifest_becomes_a_prediction(digits: Kubectl):
    training = digits.get("modeltraining", "digits")
    assert training["status"]["gate"] == "Passed"
    [checkpoint] = [c for c in digits.list("modelcheckpoints") if c["spec"]["training"] == "digits"]
    assert checkpoint["status"]["verdict"]["passed"] is True
    assert checkpoint["status"]["serving"] == ["digits"]
    serving = digits.get("modelserving", "digits")
    assert serving["status"]["stable"]["digest"] == checkpoint["spec"]["digest"]
    assert serving["status"]["ready"] == "2/2"
    [answer] = digits.predict("digits", query_of("digits"))["predictions"]
    scores = next(iter(answer.values())) if set(answer) == {"tags"} else answer
    digit = max("0123456789", key=lambda name: scores[name])
    parent = "even" if int(digit) % 2 == 0 else "odd"
    assert scores[parent] >= scores[digit]


def test_the_declared_replicas_are_held(digits: Kubectl, operator_namespace: Kubectl):
    digits("scale", "modelserving", "digits", "--replicas=5")
    wait_until(lambda: ready_column(digits) == "5/5", 90, "5/5 after kubectl scale")
    victim = ready_pods(digits)[0]["metadata"]
    digits("delete", "pod", victim["name"], "--wait=false")
    wait_until(lambda: victim["name"] not in {p["metadata"]["name"] for p in ready_pods(digits)}, 30, "the pod goes")
    wait_until(lambda: len(ready_pods(digits)) == 5, 60, "5 pods after one was deleted")
    uid = ready_pods(digits)[0]["metadata"]["uid"]
    for process in process_of_pod(uid, "modelyard_server"):
        os.kill(process, signal.SIGKILL)
    restarted = wait_until(
        lambda: [p for p in ready_pods(digits) if p["status"]["containerStatuses"][0]["restartCount"] > 0],
        60,
        "the killed process is restarted",
    )
    assert restarted[0]["metadata"]["uid"] == uid
    operator_namespace("scale", "deployment", "modelyard-operator", "--replicas=0")
    wait_until(
        lambda: not operator_namespace.list("pods", "app.kubernetes.io/name=modelyard-operator"), 60, "no operator"
    )
    digits("delete", "pod", ready_pods(digits)[0]["metadata"]["name"], "--wait=true")
    wait_until(lambda: len(ready_pods(digits)) == 5, 60, "5 pods while the operator is down")
    operator_namespace("scale", "deployment", "modelyard-operator", "--replicas=2")
    operator_namespace("rollout", "status", "deployment/modelyard-operator", "--timeout=120s")
    digits("scale", "modelserving", "digits", "--replicas=2")
    wait_until(lambda: ready_column(digits) == "2/2", 90, "2/2 after scaling back")


def load_pod(image: str, url: str) -> dict:
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "load",
        "image": image,
        "command": ["python3", "/load/load.py", url, "8", "0.05"],
        "securityContext": security,
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "load", "configMap": {"name": "load"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "load"}, "spec": spec}


def start_load(kubectl: Kubectl) -> None:
    """Start the client that never stops asking."""
    text = (ROOT / "tests/support/load.py").read_text()
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "load"}, "data": {"load.py": text}})
    image = ready_pods(kubectl)[0]["spec"]["containers"][0]["image"]
    url = f"http://digits.{kubectl.namespace}/v1/models/digits:predict?{query_of('digits')}"
    kubectl("delete", "pod", "load", "--ignore-not-found")
    kubectl.apply(load_pod(image, url))
    wait_until(lambda: "started" in kubectl("logs", "load", check=False), 60, "the client asks")


def stop_load(kubectl: Kubectl) -> dict:
    """Stop the client and return its summary."""
    kubectl("exec", "load", "--", "python3", "-c", "open('/tmp/stop', 'w').close()")
    wait_until(lambda: kubectl.get("pod", "load")["status"]["phase"] == "Succeeded", 60, "the client ends")
    return json.loads(kubectl("logs", "load").splitlines()[-1])


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def test_changes_come_in_without_a_lost_request_and_bad_ones_not_at_all(digits: Kubectl, record_property):
    before = digits.get("modelserving", "digits")["status"]["stable"]["checkpoint"]
    start_load(digits)
    digits.patch("modeltraining", "digits", {"spec": {"hyperparameters": {"learning_rate": 0.002}}})

    def rolled_out() -> dict | None:
        serving = digits.get("modelserving", "digits")
        new = serving["status"]["stable"]["checkpoint"] != before
        return serving if new and is_ready(serving) and is_ready(digits.get("modeltraining", "digits")) else None

    serving = wait_until(rolled_out, 400, "the changed hyperparameter is trained, passed and served")
    better = serving["status"]["stable"]["checkpoint"]
    tell_marker_to_ready(digits, better, record_property)
    floor = {"gate": {"metrics": [{"name": "accuracy", "floor": 0.99999}]}}
    digits.patch("modeltraining", "digits", {"spec": {"hyperparameters": {"epochs": 1}, **floor}})
    wait_until(
        lambda: (
            condition(digits.get("modeltraining", "digits"), "Passed")[0] == "False"
            and digits.get("modeltraining", "digits")["status"]["run"]["phase"] == "Succeeded"
            and digits.get("modeltraining", "digits")["status"]["lastPublished"]["name"] != better
        ),
        400,
        "the worse training ends and is refused",
    )
    summary = stop_load(digits)
    record_property("load", json.dumps(summary))
    print("load:", json.dumps(summary))
    row = digits("get", "modeltraining", "digits", "--no-headers")
    assert "is below the floor" in row, row
    assert "is below the floor" in digits("describe", "modeltraining", "digits")
    assert summary["failed"] == 0, summary
    assert summary["requests"] > 1000
    assert len(summary["versions"]) == 2, summary["versions"]
    assert ready_column(digits) == "2/2"


def tell_marker_to_ready(kubectl: Kubectl, checkpoint: str, record_property) -> None:
    """Print where the seconds go from the published marker to the first ready pod of the candidate."""
    metadata = kubectl.get("modelcheckpoint", checkpoint)["metadata"]
    created, marker = metadata["creationTimestamp"], metadata["annotations"]["modelyard.dev/published"]
    pods = [
        p for p in ready_pods(kubectl) if p["metadata"]["annotations"].get("modelyard.dev/checkpoint") == checkpoint
    ]
    first = min(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])
    times = {entry["type"]: entry["lastTransitionTime"] for entry in first["status"]["conditions"]}
    started = first["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    # the API server's times are whole seconds, cut off: each figure may be a second off
    told = {
        "marker to checkpoint recorded": round(seconds_between(marker, created), 1),
        "checkpoint recorded to pod created": seconds_between(created, first["metadata"]["creationTimestamp"]),
        "pod created to server started": seconds_between(first["metadata"]["creationTimestamp"], started),
        "server started to pod ready": seconds_between(started, times["Ready"]),
        "marker to pod ready": round(seconds_between(marker, times["Ready"]), 1),
    }
    record_property("marker_to_ready", json.dumps(told))
    print("seconds:", json.dumps(told))
    assert told["marker to pod ready"] < 60


def test_a_killed_training_goes_on_where_it_was(digits: Kubectl):
    token = {"metadata": {"annotations": {"modelyard.dev/retrain": "resume"}}}
    spec = {"hyperparameters": {"epochs": 300}, "checkpointing": {"everySeconds": 1}, "gate": {"metrics": []}}
    digits.patch("modeltraining", "digits", {**token, "spec": spec})

    def run() -> dict:
        return digits.get("modeltraining", "digits")["status"].get("run") or {}

    old = run().get("name")
    wait_until(lambda: run().get("name") != old and (run().get("savedStep") or 0) > 0, 200, "a state is saved")
    name = run()["name"]
    [pod] = [p for p in digits.list("pods", f"modelyard.dev/run={name}") if p["status"]["phase"] == "Running"]
    digits("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    wait_until(lambda: (run().get("resumedStep") or 0) > 0, 120, "the next attempt resumed from a saved state")
    wait_until(lambda: run().get("phase") == "Succeeded", 300, "the run ends")
    assert run()["name"] == name
    assert run()["attempts"] >= 2
    wait_until(lambda: is_ready(digits.get("modelserving", "digits")), 120, "its checkpoint is served")


def test_the_flights_sample_is_trained_gated_and_served(digits: Kubectl):
    digits("apply", "--kustomize=config/samples/flights")
    wait_until(lambda: is_ready(digits.get("modeltraining", "flights")), 600, "modeltraining flights is ready")
    wait_until(lambda: is_ready(digits.get("modelserving", "flights")), 120, "modelserving flights is ready")
    [answer] = digits.predict("flights", query_of("flights"))["predictions"]
    [probability] = answer.values() if isinstance(answer, dict) else [answer]
    assert 0 < probability < 1
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: digits.predict("flights", query_of("flights")), range(8)))
    assert all(entry["predictions"] == [answer] for entry in answers)
