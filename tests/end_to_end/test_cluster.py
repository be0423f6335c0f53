"""What the cluster itself must give: names, policies, metrics for autoscaling, volumes that stay."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.kubectl import Kubectl, condition, is_ready, local_tool, wait_until

ASK = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=3).status)
except OSError as error:
    print("no answer", error)
"""


def running_pods(kubectl: Kubectl) -> list[dict]:
    pods = kubectl.list("pods", "modelyard.dev/serving=digits")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def ask(kubectl: Kubectl, url: str) -> str:
    """Ask from inside a serving pod."""
    return kubectl("exec", running_pods(kubectl)[0]["metadata"]["name"], "--", "python3", "-c", ASK, url).strip()


def test_services_have_names_and_policies_are_enforced(digits: Kubectl):
    url = f"http://digits.{digits.namespace}.svc.cluster.local/v2/health/ready"
    assert ask(digits, url) == "200"
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"modelyard.dev/serving": "digits"}}, "policyTypes": ["Ingress"]},
    }
    # the pod that asks is the first one; a policy never parts a pod from itself
    other = f"http://{running_pods(digits)[1]['status']['podIP']}:8080/v2/health/ready"
    digits.apply(policy)
    try:
        wait_until(lambda: "no answer" in ask(digits, other), 20, "the policy closes the door")
    finally:
        digits("delete", "networkpolicy", "closed")
    wait_until(lambda: ask(digits, other) == "200", 20, "the door is open again")


def test_a_horizontal_pod_autoscaler_can_scale_a_serving(digits: Kubectl):
    wait_until(lambda: is_ready(digits.get("modelserving", "digits")), 120, "the serving is settled")
    target = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "ModelServing", "name": "digits"}
    cpu = {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "10"}}
    spec = {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 4}
    spec["metrics"] = [{"type": "Resource", "resource": cpu}]
    autoscaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "digits"}}
    digits.apply({**autoscaler, "spec": spec})
    wait_until(
        lambda: condition(digits.get("hpa", "digits"), "ScalingActive")[0] == "True",
        120,
        "the autoscaler sees the pods",
    )
    wait_until(lambda: digits.get("modelserving", "digits")["status"]["ready"] == "3/3", 90, "it scales to its minimum")
    digits("delete", "hpa", "digits")
    digits("scale", "modelserving", "digits", "--replicas=2")
    wait_until(lambda: digits.get("modelserving", "digits")["status"]["ready"] == "2/2", 90, "2/2 after scaling back")


def test_an_existing_cluster_is_used_by_its_context_and_never_stopped(digits: Kubectl, tmp_path: Path):
    """The local cluster plays the existing one; the kubeconfig's current context is another."""
    known = yaml.safe_load(Path(local_tool("kubeconfig")).read_text())
    [context] = known["contexts"]
    known["contexts"] = [{"name": "theirs", "context": context["context"]}, {"name": "wrong", "context": {}}]
    known["current-context"] = "wrong"
    (tmp_path / "config").write_text(yaml.safe_dump(known))
    binaries = Path(local_tool("kubectl")).parent
    environment = {"KUBECONFIG": str(tmp_path / "config"), "CONTEXT": "theirs", "XDG_STATE_HOME": str(tmp_path)}
    environment["PATH"] = f"{binaries}:{os.environ['PATH']}"
    assert "Server Version" in local_tool("status", **environment)
    theirs = Kubectl(local_tool("kubectl", **environment), local_tool("kubeconfig", **environment), digits.namespace)
    assert theirs.get("modelserving", "digits")["metadata"]["name"] == "digits"
    assert "left alone" in local_tool("down", **environment)
    assert theirs.get("modelserving", "digits")
    with pytest.raises(subprocess.CalledProcessError):
        local_tool("status", **environment | {"CONTEXT": "nobody's"})


def test_a_pod_that_is_not_restricted_is_not_admitted(digits: Kubectl):
    container = {"name": "it", "image": "localhost/x", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "privileged"}, "spec": {"containers": [container]}}
    answer = digits("apply", "--filename=-", stdin=json.dumps(pod), check=False)
    assert "violates PodSecurity" in answer, answer
