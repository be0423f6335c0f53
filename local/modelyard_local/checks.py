"""What the machine must have before anything is started. Each problem is one line that says what to do."""

import os
import shutil
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGES", "Machine", "inspect_machine", "missing_packages", "problems"]

#: Debian package for each program that the cluster calls.
PACKAGES = {
    "runc": "runc",
    "containerd": "containerd",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "socat": "socat",
    "modprobe": "kmod",
    "openssl": "openssl",
    "ip": "iproute2",
    "unshare": "util-linux",
    "sysctl": "procps",
    "gcc": "gcc",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
    "strip": "binutils",
}
CNI_PLUGIN = Path("/usr/lib/cni/ptp")
LIBC_HEADER = Path("/usr/include/stdlib.h")
LEAST_MEMORY = 4 << 30
LEAST_DISK = 12 << 30


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found."""

    is_root: bool
    file_systems: frozenset[str]
    has_cgroups: bool
    memory: int
    """Bytes in all."""
    disk: int
    """Bytes free where the state lies."""
    port_is_free: bool
    has_go: bool


def inspect_machine(state: Path, api_port: int) -> Machine:
    """Look at this machine."""
    existing = next(folder for folder in (state, *state.parents) if folder.exists())
    return Machine(
        is_root=os.geteuid() == 0,
        file_systems=frozenset(Path("/proc/filesystems").read_text().split()),
        has_cgroups=any(Path("/sys/fs/cgroup").iterdir()) if Path("/sys/fs/cgroup").is_dir() else False,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        disk=shutil.disk_usage(existing).free,
        port_is_free=_is_free(api_port),
        has_go=shutil.which("go") is not None,
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def problems(machine: Machine, *, api_port: int, built: bool) -> list[str]:
    """Return one line for each thing that is missing; none: the cluster can start."""
    found = []
    if not machine.is_root:
        found.append("not root: the cluster needs namespaces, mounts and nftables; run it as root")
    if "overlay" not in machine.file_systems:
        found.append("the kernel has no overlay file system: load it with `modprobe overlay`")
    if not machine.has_cgroups:
        found.append("no cgroups are mounted at /sys/fs/cgroup: mount them or start the machine with them")
    if machine.memory < LEAST_MEMORY:
        found.append(f"{machine.memory >> 20} MiB of memory: at least {LEAST_MEMORY >> 20} MiB are needed")
    if machine.disk < LEAST_DISK:
        found.append(f"{machine.disk >> 30} GiB of disk are free: at least {LEAST_DISK >> 30} GiB are needed")
    if not machine.port_is_free:
        found.append(f"port {api_port} of 127.0.0.1 is taken: choose another with MODELYARD_API_PORT")
    if not built and not machine.has_go:
        found.append("no `go` on PATH: install Go 1.26 or later to build Kubernetes")
    return found


def missing_packages(programs: Iterable[str] = PACKAGES) -> list[str]:
    """Return the Debian packages whose programs are not there."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [PACKAGES[program] for program in programs if shutil.which(program, path=path) is None]
    if not CNI_PLUGIN.exists():
        missing.append("containernetworking-plugins")
    if not LIBC_HEADER.exists():
        missing.append("libc6-dev")
    return missing
