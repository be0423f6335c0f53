"""The local cluster stopped, started and interrupted: nothing is left behind, and nothing is lost.

Runs after the other files: it takes the cluster away under everything.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.kubectl import ROOT, Kubectl, is_ready, local_tool, wait_until


def left_behind() -> dict[str, list[str]]:
    """Return what a cluster could leave on this machine outside its namespaces."""
    state = str(Path(local_tool("kubeconfig")).parents[1])
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if f" {state}" in line]
    links = [path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(("node", "veth"))]
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            in_pod = "kubepods" in (folder / "cgroup").read_text()
        except OSError:
            continue
        if in_pod or f"{state}/" in words:
            processes.append(words)
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob("kubepods*")]
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout.split("\n")
    return {
        "mounts": mounts,
        "links": links,
        "processes": processes,
        "cgroups": groups,
        "rules": [line for line in rules if "kube" in line.lower() or "netpol" in line.lower()],
    }


def nothing() -> dict[str, list[str]]:
    return {"mounts": [], "links": [], "processes": [], "cgroups": [], "rules": []}


def test_a_stopped_cluster_leaves_nothing_and_a_started_one_has_everything_again(digits: Kubectl):
    wait_until(lambda: is_ready(digits.get("modelserving", "digits")), 120, "the serving is settled")
    digest = digits.get("modelserving", "digits")["status"]["stable"]["digest"]
    local_tool("down")
    assert left_behind() == nothing()
    local_tool("down")
    local_tool("up")
    assert "already" in local_tool("up")
    wait_until(lambda: is_ready(digits.get("modelserving", "digits")), 180, "the serving is back")
    assert digits.get("modelserving", "digits")["status"]["stable"]["digest"] == digest
    query = (ROOT / "config/samples/digits/request.txt").read_text().strip()
    wait_until(lambda: "predictions" in digits.predict("digits", query), 60, "it answers")


@pytest.mark.parametrize("seconds", [0.5, 4.0])
def test_a_start_that_is_killed_leaves_nothing_that_the_next_start_minds(digits: Kubectl, seconds: float):
    local_tool("down")
    command = [sys.executable, "-m", "modelyard_local", "up"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "local")}
    starting = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    starting.send_signal(signal.SIGKILL)
    starting.wait()
    local_tool("up")
    wait_until(lambda: is_ready(digits.get("modelserving", "digits")), 180, "the serving is back")


def test_a_busy_port_is_one_clear_line_and_nothing_is_started():
    local_tool("down")
    command = [sys.executable, "-m", "modelyard_local", "up"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "local")}
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 6443))
        busy.listen()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        left = left_behind()
    local_tool("up")
    assert done.returncode == 1
    assert "port 6443 of 127.0.0.1 is taken" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert left == nothing()
