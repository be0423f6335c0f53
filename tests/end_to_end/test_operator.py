"""The operator on the real cluster: killed at any moment, and quiet when nothing changes."""

import json
import os
import signal
import time
from pathlib import Path

from tests.support.kubectl import ROOT, Kubectl, is_ready, local_tool, process_of_pod, wait_until

OPERATOR = "app.kubernetes.io/name=modelyard-operator"
SERVICE_ACCOUNT = "system:serviceaccount:modelyard-system:modelyard-operator"
MUTATING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
QUIET_SECONDS = 120.0
KILLS = 10


def audit_entries(since: float) -> list[dict]:
    """Return what the API server recorded of the operator's requests since a time (seconds of the epoch)."""
    entries = []
    log = Path(local_tool("audit-log"))
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["user"]["username"] == SERVICE_ACCOUNT and timestamp(entry["stageTimestamp"]) >= since:
            entries.append(entry)
    return entries


def timestamp(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def mutations(since: float) -> list[str]:
    """Return the operator's mutating requests, but for the renewal of its own Lease."""
    return [
        f"{entry['verb']} {entry['requestURI']}"
        for entry in audit_entries(since)
        if entry["verb"] in MUTATING and entry["objectRef"].get("resource") != "leases"
    ]


def kill_operator(kubectl: Kubectl) -> int:
    """SIGKILL every operator process; return how many there were."""
    killed = 0
    for pod in kubectl.list("pods", OPERATOR):
        for process in process_of_pod(pod["metadata"]["uid"], "modelyard_operator"):
            os.kill(process, signal.SIGKILL)
            killed += 1
    return killed


def test_killed_at_ten_moments_it_ends_in_the_same_state(digits: Kubectl, operator_namespace: Kubectl):
    before = {job["metadata"]["name"] for job in digits.list("jobs", "modelyard.dev/training=digits")}
    spec = {"hyperparameters": {"epochs": 6, "learning_rate": 0.003}, "gate": {"metrics": []}}
    digits.patch("modeltraining", "digits", {"spec": spec})
    killed = 0
    for _ in range(KILLS):
        killed += kill_operator(operator_namespace) > 0
        # the restarted container comes back after the kubelet's own back-off, which deleting the pod resets
        operator_namespace("delete", "pods", f"--selector={OPERATOR}", "--grace-period=0", "--force")
        time.sleep(4)
    assert killed >= KILLS // 2
    operator_namespace("rollout", "status", "deployment/modelyard-operator", "--timeout=120s")
    wait_until(lambda: is_ready(digits.get("modeltraining", "digits")), 300, "the training is ready after the kills")
    newest = digits.get("modeltraining", "digits")["status"]["lastPublished"]
    wait_until(
        lambda: (
            is_ready(digits.get("modelserving", "digits"))
            and digits.get("modelserving", "digits")["status"]["stable"]["digest"] == newest["digest"]
        ),
        180,
        "its checkpoint is served",
    )
    jobs = {job["metadata"]["name"] for job in digits.list("jobs", "modelyard.dev/training=digits")}
    assert len(jobs - before) == 1, jobs - before
    serving = digits.get("modelserving", "digits")
    deployments = digits.list("deployments", "modelyard.dev/serving=digits")
    assert [d["metadata"]["name"] for d in deployments] == [serving["status"]["stable"]["name"]]
    wait_until(lambda: orphans(digits) == [], 60, "nothing is orphaned")


def orphans(kubectl: Kubectl) -> list[str]:
    """Return everything made by Modelyard whose owner does not exist."""
    found = []
    owners = {
        item["metadata"]["uid"]
        for kind in ("modeltrainings", "modelservings", "jobs", "deployments", "replicasets")
        for item in kubectl.list(kind)
    }
    for kind in ("jobs", "configmaps", "deployments", "services", "poddisruptionbudgets", "modelcheckpoints", "pods"):
        for item in kubectl.list(kind, "app.kubernetes.io/managed-by=modelyard"):
            references = item["metadata"].get("ownerReferences", [])
            if not any(reference["uid"] in owners for reference in references):
                found.append(f"{kind}/{item['metadata']['name']}")
    return found


def test_nothing_is_written_when_nothing_changes(digits: Kubectl, operator_namespace: Kubectl):
    wait_until(lambda: is_ready(digits.get("modelserving", "digits")), 120, "the serving is settled")
    time.sleep(10)
    started = time.time()
    shown = digits("get", "modeltraining,modelserving", "--output=json")
    for item in json.loads(shown)["items"]:
        digits.apply({key: value for key, value in item.items() if key in ("apiVersion", "kind")} | applied(item))
    for pod in operator_namespace.list("pods", OPERATOR):
        operator_namespace("delete", "pod", pod["metadata"]["name"], "--wait=false")
    operator_namespace("rollout", "status", "deployment/modelyard-operator", "--timeout=120s")
    time.sleep(max(0.0, started + QUIET_SECONDS - time.time()))
    assert mutations(started) == []
    assert audit_entries(started), "the API server recorded nothing: the count above would prove nothing"


def applied(item: dict) -> dict:
    """Return what a user would apply again."""
    metadata = {"name": item["metadata"]["name"], "labels": item["metadata"].get("labels", {})}
    return {"metadata": metadata, "spec": item["spec"]}


def test_the_operator_tells_of_itself(digits: Kubectl, operator_namespace: Kubectl):
    told = []
    for pod in operator_namespace.list("pods", OPERATOR):
        root = f"/api/v1/namespaces/{operator_namespace.namespace}/pods/{pod['metadata']['name']}:8080/proxy"
        assert operator_namespace("get", "--raw", f"{root}/healthz") == "ok"
        told.append((operator_namespace("get", "--raw", f"{root}/readyz"), f"{root}/metrics"))
    assert sorted(word for word, _ in told) == ["leading", "standing by"]
    metrics = operator_namespace("get", "--raw", dict(told)["leading"])
    for name in ("passes_total", "pass_duration_seconds_bucket", "api_requests_total", "queue_depth", "leader 1.0"):
        assert f"modelyard_operator_{name}" in metrics, name
    assert 'result="bug"' not in metrics


def test_the_role_grants_exactly_what_was_used(digits: Kubectl):
    import yaml

    granted = set()
    for document in yaml.safe_load_all((ROOT / "config/rbac/operator.yaml").read_text()):
        for rule in document.get("rules", []):
            granted |= {
                (group, resource, verb)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            }
    used = set()
    for entry in audit_entries(0.0):
        if "objectRef" not in entry:
            continue  # discovery, which everybody may ask for
        reference = entry["objectRef"]
        name = "/".join(filter(None, [reference["resource"], reference.get("subresource")]))
        used.add((reference.get("apiGroup", ""), name, entry["verb"]))
        if entry["verb"] == "patch" and entry["responseStatus"]["code"] == 201:
            # applying what does not exist asks for the right to create it
            used.add((reference.get("apiGroup", ""), name, "create"))
    assert sorted(used - granted) == []
    assert sorted(granted - used) == []
