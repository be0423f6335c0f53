"""The cluster as the end-to-end tests see it: kubectl, waiting, conditions."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")
ROOT = Path(__file__).resolve().parents[2]


def local_tool(*arguments: str, **environment: str) -> str:
    """Run the cluster tool and return what it prints."""
    command = [sys.executable, "-m", "modelyard_local", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "local"), **environment}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=variables).stdout.strip()


def wait_until(check: Callable[[], Found], seconds: float, what: str, pause: float = 0.5) -> Found:
    """Return the first true value of `check`; fail with `what` and the last value when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what} (last: {found!r})"
        time.sleep(pause)


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, executable: str, kubeconfig: str, namespace: str) -> None:
        self._base = [executable, f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]
        self.namespace = namespace
        self._executable, self._kubeconfig = executable, kubeconfig

    @classmethod
    def in_namespace(cls, namespace: str) -> "Kubectl":
        return cls(local_tool("kubectl"), local_tool("kubeconfig"), namespace)

    def elsewhere(self, namespace: str) -> "Kubectl":
        return Kubectl(self._executable, self._kubeconfig, namespace)

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run([*self._base, *arguments], input=stdin, capture_output=True, text=True, cwd=ROOT)
        if check:
            assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout if done.returncode == 0 else done.stderr

    def apply(self, *documents: dict[str, Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=json.dumps(listed))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object, or {} if there is none."""
        text = self("get", kind, name, "--output=json", "--ignore-not-found")
        return json.loads(text) if text else {}

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        return json.loads(self("get", kind, f"--selector={selector}", "--output=json"))["items"]

    def patch(self, kind: str, name: str, patch: dict[str, Any]) -> None:
        self("patch", kind, name, "--type=merge", f"--patch={json.dumps(patch)}")

    def predict(self, serving: str, query: str) -> dict[str, Any]:
        """GET a prediction through the serving's Service."""
        path = f"/api/v1/namespaces/{self.namespace}/services/{serving}:http/proxy/v1/models/{serving}:predict?{query}"
        return json.loads(self("get", "--raw", path))


def condition(resource: dict[str, Any], kind: str) -> tuple[str, str, str]:
    """Return (status, reason, message) of a condition; ("Unknown", "", "") if it is not there."""
    for entry in resource.get("status", {}).get("conditions", []):
        if entry["type"] == kind:
            return entry["status"], entry.get("reason", ""), entry.get("message", "")
    return "Unknown", "", ""


def is_ready(resource: dict[str, Any]) -> bool:
    """Say whether a resource is Ready for its own generation."""
    if not resource:
        return False
    observed = resource.get("status", {}).get("observedGeneration") == resource["metadata"]["generation"]
    return observed and condition(resource, "Ready")[0] == "True"


def process_of_pod(uid: str, words: str) -> list[int]:
    """Return the process ids, as this machine sees them, of a local-cluster pod's processes that hold `words`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_of_pod = uid in (folder / "cgroup").read_text()
            if is_of_pod and words in (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
