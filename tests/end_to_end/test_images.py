"""Each image starts, runs as nobody, and holds what it should."""

import json

import pytest

from tests.support.kubectl import Kubectl, wait_until

PROBE = """
import importlib.util, json, os, pathlib
size = 0
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys", "/dev", "/tmp")]
    size += sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for name in files)
tensorflow = importlib.util.find_spec("tensorflow") is not None
print(json.dumps({"uid": os.getuid(), "megabytes": size / 1e6, "tensorflow": tensorflow}))
"""


def image_of(kubectl: Kubectl, name: str) -> str:
    deployment = kubectl.get("deployment", "modelyard-operator")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    if name == "operator":
        return container["image"]
    [reference] = [
        entry["valueFrom"]["configMapKeyRef"]
        for entry in container["env"]
        if entry.get("valueFrom", {}).get("configMapKeyRef", {}).get("key") == name
    ]
    return kubectl.get("configmap", reference["name"])["data"][name]


def run_in(cluster: Kubectl, name: str, image: str, command: list[str]) -> tuple[str, str]:
    """Run a command in a restricted pod of an image; return phase and log."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "it", "image": image, "command": command, "securityContext": security}
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    phase = wait_until(
        lambda: cluster.get("pod", name)["status"].get("phase") in ("Succeeded", "Failed"), 120, f"pod {name} ends"
    )
    assert phase
    log = cluster("logs", name)
    phase = cluster.get("pod", name)["status"]["phase"]
    cluster("delete", "pod", name, "--wait=false")
    return phase, log


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("operator", "modelyard_operator"),
        ("serving", "modelyard_server"),
        ("serving-tensorflow", "modelyard_server"),
        ("training", "modelyard_trainer"),
    ],
)
def test_an_image_starts_and_explains_itself(cluster, operator_namespace, name, module):
    image = image_of(operator_namespace, name)
    phase, log = run_in(cluster, f"help-{name}", image, ["python3", "-m", module, "--help"])
    assert (phase, "usage" in log.lower()) == ("Succeeded", True), log


def test_the_serving_image_is_small_and_holds_no_tensorflow(cluster, operator_namespace):
    image = image_of(operator_namespace, "serving")
    phase, log = run_in(cluster, "size-serving", image, ["python3", "-c", PROBE])
    assert phase == "Succeeded", log
    found = json.loads(log)
    assert found["uid"] == 65532
    assert found["tensorflow"] is False
    assert found["megabytes"] <= 250
