"""Process 1 of the cluster's namespaces: network, mounts, then the components, which it keeps alive.

When this process ends, the kernel ends every process of the namespaces and drops their mounts, links and rules.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from modelyard_local.building import binaries
from modelyard_local.components import Component, components
from modelyard_local.settings import NODE, NODE_ADDRESS, SERVICE_RANGE, Settings

__all__ = ["Supervisor", "main"]

#: containerd's shims and the CNI keep state in these folders, whatever they are told: they end with the namespace.
PRIVATE_FOLDERS = ("/run/containerd", "/run/netns", "/var/lib/cni", "/var/log/containers")
SETTINGS_OF_THE_KERNEL = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
#: A component that ran so long starts with the first pause again.
STEADY = 60.0


def run(*command: str) -> None:
    """Run a command; its failure is the node's."""
    subprocess.run(command, check=True)


def prepare_mounts() -> None:
    """Give the node folders of its own that vanish with it."""
    run("mount", "--make-rshared", "/")
    for folder in PRIVATE_FOLDERS:
        Path(folder).mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", folder)
        run("mount", "--make-shared", folder)


def prepare_network() -> None:
    """Set up an address for the node and a route for services; no route leaves the namespace."""
    run("hostname", NODE)
    run("ip", "link", "set", "lo", "up")
    # a bridge without ports: not every kernel has dummy links
    run("ip", "link", "add", "node0", "type", "bridge")
    run("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "node0")
    run("ip", "link", "set", "node0", "up")
    # without a route a connection to a service fails before its address is translated
    run("ip", "route", "add", SERVICE_RANGE, "dev", "node0")
    run("sysctl", "-qw", *SETTINGS_OF_THE_KERNEL)


class Supervisor:
    """Starts components and starts them again when they end, with growing pauses."""

    def __init__(self, logs: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._logs = logs
        self._clock = clock
        self._running: dict[int, tuple[Component, float]] = {}
        self._pauses: dict[str, float] = {}
        self._due: list[tuple[float, Component]] = []

    def start(self, component: Component) -> None:
        """Start a component with its own log."""
        with (self._logs / f"{component.name}.log").open("ab") as log:
            process = subprocess.Popen(component.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._running[process.pid] = (component, self._clock())
        # this process reaps every child itself
        process.returncode = 0

    def reap(self) -> None:
        """Collect every ended process and plan the restart of components; orphans are only collected."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._running:
                self._plan_restart(*self._running.pop(pid), os.waitstatus_to_exitcode(status))

    def _plan_restart(self, component: Component, started: float, code: int) -> None:
        now = self._clock()
        steady = now - started >= STEADY
        pause = FIRST_PAUSE if steady else self._pauses.get(component.name, FIRST_PAUSE)
        self._pauses[component.name] = min(pause * 2, LONGEST_PAUSE)
        self._due.append((now + pause, component))
        entry = {"component": component.name, "exit": code, "restart_in": pause}
        print(json.dumps(entry), flush=True)

    def restart_due(self) -> None:
        """Start every component whose pause is over."""
        now = self._clock()
        due = [component for when, component in self._due if when <= now]
        self._due = [(when, component) for when, component in self._due if when > now]
        for component in due:
            self.start(component)


def wait_for(check: Callable[[], bool], supervisor: Supervisor) -> None:
    """Wait until something is so, keeping the components alive meanwhile."""
    while not check():
        supervisor.reap()
        supervisor.restart_due()
        time.sleep(0.05)


def main() -> None:
    """Run the node until it is told to stop."""
    settings = Settings.from_environment(os.environ)
    folder = binaries(settings.cache)
    os.environ["PATH"] = f"{folder}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    prepare_mounts()
    prepare_network()
    supervisor = Supervisor(settings.logs)
    every = components(settings, folder)
    for component in every:
        if component.phase == 0:
            supervisor.start(component)
    kubectl = (str(folder / "kubectl"), f"--kubeconfig={settings.pki}/admin.kubeconfig")
    ready = subprocess.DEVNULL

    def answers() -> bool:
        return subprocess.run([*kubectl, "get", "--raw", "/readyz"], stdout=ready, stderr=ready).returncode == 0

    wait_for(answers, supervisor)
    _forget_readiness(kubectl)
    for component in every:
        if component.phase == 1:
            supervisor.start(component)
    (settings.run / "started").touch()
    while True:
        supervisor.reap()
        supervisor.restart_due()
        time.sleep(0.2)


def _forget_readiness(kubectl: tuple[str, ...]) -> None:
    """A node kept from the last start must not count as ready before its kubelet says so."""
    condition = {"type": "Ready", "status": "Unknown", "reason": "Restarted"}
    patch = json.dumps({"status": {"conditions": [condition]}})
    command = [*kubectl, "patch", "node", NODE, "--subresource=status", f"--patch={patch}"]
    subprocess.run(command, capture_output=True)


if __name__ == "__main__":
    main()
