"""A real etcd and kube-apiserver, without nodes: for what only the real API server can prove.

The binary is the local cluster's own (`python -m modelyard_local kubectl` is a link to it). Everything listens on
loopback with ports of its own, keeps its data in a temporary folder, and ends with the fixture.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "control-plane-of-the-tests"
START_DEADLINE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def hyperkube() -> Path:
    """Return the multi-call binary that holds every component."""
    command = [sys.executable, "-m", "modelyard_local", "kubectl"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Path(printed.strip()).resolve()


@dataclass
class Answer:
    """Status and body of an API request."""

    status: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class ControlPlane:
    """etcd and kube-apiserver as child processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"https://127.0.0.1:{free_port()}"
        self._processes: list[subprocess.Popen[bytes]] = []
        # the certificate is made by the API server itself and lives as long as this fixture
        self._tls = ssl._create_unverified_context()

    def start(self) -> None:
        binary, etcd = hyperkube(), f"http://127.0.0.1:{free_port()}"
        peer = f"http://127.0.0.1:{free_port()}"
        self._run(
            [binary, "etcd", f"--data-dir={self.folder}/etcd", f"--listen-client-urls={etcd}", "--unsafe-no-fsync"]
            + [f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
            + [f"--initial-cluster=default={peer}"]
        )
        (self.folder / "tokens.csv").write_text(f"{TOKEN},tester,1,system:masters\n")
        key = self.folder / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        self._run(
            [binary, "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={self.url.rsplit(':', 1)[1]}"]
            + ["--bind-address=127.0.0.1", f"--cert-dir={self.folder}/certs", "--authorization-mode=RBAC"]
            + [f"--token-auth-file={self.folder}/tokens.csv", "--service-cluster-ip-range=10.0.0.0/24"]
            + ["--service-account-issuer=https://tests", f"--service-account-key-file={key}"]
            + [f"--service-account-signing-key-file={key}", "--disable-admission-plugins=ServiceAccount"]
        )
        deadline = time.monotonic() + START_DEADLINE
        while self.request("GET", "/readyz").status != 200:
            assert time.monotonic() < deadline, (self.folder / "kube-apiserver.log").read_text()[-2000:]
            time.sleep(0.1)

    def _run(self, command: list[Any]) -> None:
        log = (self.folder / f"{command[1]}.log").open("wb")
        self._processes.append(subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, cwd=self.folder))
        log.close()

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of a cluster administrator."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "tests", "user": {"token": TOKEN}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        }
        path = self.folder / "kubeconfig"
        path.write_text(json.dumps(document))
        return path

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Run kubectl and return its output; a failure is an error of the test."""
        command = [str(hyperkube()), "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        environment = {**os.environ, "HOME": str(self.folder)}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, **options).stdout

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """Send one request as the administrator."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": content_type}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._tls) as response:
                return Answer(response.status, _parse(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _parse(error.read()))
        except OSError:
            return Answer(0, {})


def _parse(text: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {"message": text.decode(errors="replace")}
    return parsed if isinstance(parsed, dict) else {"value": parsed}
