"""Bringing the local cluster up and down, and asking how it is."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from modelyard_local.archives import write_single_binary
from modelyard_local.base_image import base_archives
from modelyard_local.building import binaries, build, is_built
from modelyard_local.certificates import create_certificates
from modelyard_local.checks import inspect_machine, missing_packages, problems
from modelyard_local.configuration import write_configuration
from modelyard_local.settings import COREDNS_IMAGE, FOLDER, HYPERKUBE_IMAGE, NODE, PAUSE_IMAGE, Settings
from modelyard_local.steps import Steps

__all__ = ["ClusterError", "LocalCluster"]

START_DEADLINE = 120.0
#: Namespaces of its own for processes, mounts, network, host name and shared memory; mounts never spread outwards.
UNSHARE = (
    *("unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--mount", "--net", "--uts", "--ipc"),
    *("--propagation", "slave"),
)
#: What `down --reset` forgets: objects, volumes, logs. Imported images and certificates stay.
RESET = ("etcd", "kubelet", "podlogs", "log", "volumes")


class ClusterError(RuntimeError):
    """The cluster cannot do what was asked; the message says why and what to do."""


class LocalCluster:
    """The embedded default: one node in namespaces of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def kubectl_path(self) -> Path:
        """A kubectl of the cluster's own version."""
        return binaries(self.settings.cache) / "kubectl"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.settings.kubeconfig

    def build(self, steps: Steps) -> None:
        """Install the programs and build the binaries that are missing."""
        if packages := missing_packages():
            with steps.step("system packages") as tell:
                install_packages(packages, tell)
        if not is_built(self.settings.cache):
            with steps.step("Kubernetes from Go modules (first time only)") as tell:
                build(self.settings.cache, tell)

    def up(self, steps: Steps) -> None:
        """Bring the cluster up; nothing happens if it is up."""
        if self.is_up():
            steps.finish("The local cluster is up already, looked at")
            return
        # what an interrupted start has left would be in the way
        self.down(steps=None)
        self._check()
        self.build(steps)
        with steps.step("certificates and configuration"):
            create_certificates(self.settings)
            for folder in ("run", "log", "kubelet", "containerd", "podlogs", "etcd", "volumes"):
                (self.settings.state / folder).mkdir(parents=True, exist_ok=True)
            write_configuration(self.settings)
        try:
            with steps.step("control plane and node"):
                self._start()
            with steps.step("system images"):
                self._load_system_images()
            with steps.step("node ready"):
                self._wait_ready()
            with steps.step("DNS, metrics, volumes, network policies"):
                self._install_addons()
        except BaseException:
            self.down(steps=None)
            raise
        steps.finish("The local cluster is up")

    def down(self, steps: Steps | None, *, reset: bool = False, purge: bool = False) -> None:
        """Stop everything at once; the kernel removes the namespaces' processes, mounts, links and rules."""
        run = self.settings.run
        for name in ("relay", "unshare", "node"):
            _kill(run / f"{name}.pid")
        _kill_strays(self.settings.state)
        _remove_cgroups()
        shutil.rmtree(run, ignore_errors=True)
        if purge:
            shutil.rmtree(self.settings.state, ignore_errors=True)
        elif reset:
            for name in RESET:
                shutil.rmtree(self.settings.state / name, ignore_errors=True)
        if steps is not None:
            kept = "" if purge else "; objects and images are kept" if not reset else "; images are kept"
            steps.finish(f"The local cluster is stopped{kept}")

    def is_up(self) -> bool:
        """Say whether the node runs and the API server answers outside."""
        return _is_alive(self.settings.run / "node.pid") and self._kubectl("get", "--raw", "/readyz").returncode == 0

    def status(self) -> str:
        """Return how the cluster is, in a few lines; raise ClusterError if it is down."""
        if not self.is_up():
            raise ClusterError("the local cluster is down: `make cluster` brings it up")
        nodes = self._kubectl("get", "nodes", "--output=wide").stdout
        return f"{nodes}\n{self._kubectl('get', 'pods', '--all-namespaces').stdout}"

    def load(self, archives: list[Path]) -> None:
        """Import image archives into the node; one that was imported before is not read again."""
        marks = self.settings.state / "containerd" / "imported"
        marks.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            details = archive.stat()
            stamp = f"{details.st_mtime_ns}-{details.st_size}"
            mark = marks / archive.name
            if mark.exists() and mark.read_text() == stamp:
                continue
            done = self.execute("-m", "ctr", "--namespace=k8s.io", "images", "import", str(archive.resolve()))
            if done.returncode:
                raise ClusterError(f"{archive.name} could not be imported: {done.stderr.strip()}")
            mark.write_text(stamp)

    def base_images(self) -> list[Path]:
        """Return the archives of the base images that images are built from."""
        return base_archives(self.settings.cache)

    def enter(self, *options_and_command: str) -> list[str]:
        """Return the command line that runs a command in the node's network (and, with -m, mount) namespace."""
        pid = (self.settings.run / "node.pid").read_text()
        return ["nsenter", "--target", pid, "-n", *options_and_command]

    def execute(self, *options_and_command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return subprocess.run(self.enter(*options_and_command), capture_output=True, text=True)

    def _check(self) -> None:
        machine = inspect_machine(self.settings.state, self.settings.api_port)
        found = problems(machine, api_port=self.settings.api_port, built=is_built(self.settings.cache))
        if found:
            raise ClusterError("\nError: ".join(found))

    def _start(self) -> None:
        run = self.settings.run
        with (self.settings.logs / "node.log").open("ab") as log:
            outer = subprocess.Popen(
                [*UNSHARE, sys.executable, "-m", "modelyard_local.node", str(self.settings.state)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(FOLDER), "MODELYARD_STATE": str(self.settings.state)}
                | {"MODELYARD_CACHE": str(self.settings.cache)},
            )
        _write_pid(run / "unshare.pid", outer.pid)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        node = self._await(lambda: children.read_text().strip() if children.exists() else "", "the node's process")
        _write_pid(run / "node.pid", int(node))
        relay = subprocess.Popen(
            [
                "socat",
                f"TCP-LISTEN:{self.settings.api_port},bind=127.0.0.1,reuseaddr,fork",
                f"UNIX-CONNECT:{run}/api.sock",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        _write_pid(run / "relay.pid", relay.pid)
        self._await((run / "started").exists, "the API server")

    def _load_system_images(self) -> None:
        folder = binaries(self.settings.cache)
        archives = []
        for name, image in (("pause", PAUSE_IMAGE), ("coredns", COREDNS_IMAGE), ("hyperkube", HYPERKUBE_IMAGE)):
            archive = folder / f"{name}.tar"
            if not archive.exists():
                write_single_binary(archive, image, folder / name)
            archives.append(archive)
        self.load(archives)

    def _wait_ready(self) -> None:
        def ready() -> bool:
            node = self._kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=5s")
            # pods are refused before this account exists
            return node.returncode == 0 and self._kubectl("get", "serviceaccount", "default").returncode == 0

        self._await(ready, "the node to become ready")

    def _install_addons(self) -> None:
        applied = self._kubectl("apply", "--server-side", "--force-conflicts", f"--filename={FOLDER / 'manifests'}")
        if applied.returncode:
            raise ClusterError(f"the cluster's own manifests were refused: {applied.stderr}")
        for deployment in ("coredns", "metrics-server"):
            arguments = ("--namespace=kube-system", "rollout", "status", f"deployment/{deployment}", "--timeout=90s")
            if (done := self._kubectl(*arguments)).returncode:
                raise ClusterError(f"{deployment} does not come up: {done.stderr}")

    def _await(self, check: Callable[[], object], what: str) -> str:
        deadline = time.monotonic() + START_DEADLINE
        while not (found := check()):
            if time.monotonic() > deadline or not _is_alive(self.settings.run / "unshare.pid"):
                raise ClusterError(f"gave up waiting for {what}; the logs are in {self.settings.logs}")
            time.sleep(0.05)
        return str(found)

    def _kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.kubectl_path), f"--kubeconfig={self.kubeconfig}", "--request-timeout=10s", *arguments]
        if not self.kubectl_path.exists():
            return subprocess.CompletedProcess(command, 127, "", "not built yet")
        if "wait" in arguments or "rollout" in arguments:
            command.remove("--request-timeout=10s")
        return subprocess.run(command, capture_output=True, text=True)


def install_packages(packages: list[str], tell: Callable[[str], None]) -> None:
    """Install Debian packages with apt-get."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        tell(" ".join(command))
        done = subprocess.run(["apt-get", "-qq", *command], capture_output=True, text=True, env=environment)
        if done.returncode and command[0] == "install":
            raise ClusterError(f"apt-get {' '.join(command)} failed:\n{done.stderr[-2000:]}")


def _write_pid(path: Path, pid: int) -> None:
    """Keep the process id with its start time, so that another process with the same id is never taken for it."""
    path.write_text(str(pid))
    path.with_suffix(".start").write_text(_start_time(pid))


def _start_time(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _is_alive(path: Path) -> bool:
    try:
        pid, start = int(path.read_text()), path.with_suffix(".start").read_text()
    except (OSError, ValueError):
        return False
    state = Path(f"/proc/{pid}/stat")
    return bool(start) and _start_time(pid) == start and ") Z " not in state.read_text()


def _kill(path: Path) -> None:
    """End a process of ours and wait until it is gone."""
    if not _is_alive(path):
        return
    pid = int(path.read_text())
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while _is_alive(path) and time.monotonic() < deadline:
        time.sleep(0.02)


def _kill_strays(state: Path) -> None:
    """End what a start began and was killed before it could write down."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        is_node = words[0] == "unshare" and str(state) in words
        is_relay = words[0] == "socat" and f"UNIX-CONNECT:{state}/run/api.sock" in words
        if is_node or is_relay:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(folder.name), signal.SIGKILL)


def _remove_cgroups() -> None:
    """Remove the empty groups that the kubelet leaves; the kernel refuses those that are in use."""
    for _ in range(50):
        folders = sorted(Path("/sys/fs/cgroup").glob("**/kubepods*"), key=lambda path: -len(path.parts))
        if not folders:
            return
        for folder in folders:
            for inner in sorted(folder.glob("**/"), key=lambda path: -len(path.parts)):
                _remove_folder(inner)
        time.sleep(0.1)


def _remove_folder(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
