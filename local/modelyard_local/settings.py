"""Where things lie and which addresses the cluster uses."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FOLDER", "KUBERNETES", "Settings"]

#: The folder `local/` of the project.
FOLDER = Path(__file__).resolve().parents[1]
KUBERNETES = "1.37.2"
NODE = "node1"
NODE_ADDRESS = "192.168.200.1"
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
PAUSE_IMAGE = "localhost/pause:1"
COREDNS_IMAGE = "localhost/coredns:1.15.0"
HYPERKUBE_IMAGE = f"localhost/hyperkube:v{KUBERNETES}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user can choose, from the environment."""

    cache: Path
    """Built binaries and image archives: shared by every checkout of a user."""
    state: Path
    """The cluster's own data: certificates, etcd, containerd, volumes, logs."""
    api_port: int
    """Port of 127.0.0.1 at which the API server answers outside the cluster's namespaces."""
    context: str = ""
    """An existing cluster's kube context; empty: the local cluster."""
    registry: str = ""
    """Where images for an existing cluster are pushed."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read MODELYARD_CACHE, MODELYARD_STATE, MODELYARD_API_PORT, CONTEXT and REGISTRY; all have defaults."""
        home = Path(environment.get("HOME") or os.path.expanduser("~"))
        cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "modelyard"
        state = Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state") / "modelyard" / "cluster"
        port = environment.get("MODELYARD_API_PORT") or "6443"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"MODELYARD_API_PORT is {port!r}: it must be a port number from 1 to 65535")
        return cls(
            cache=Path(environment.get("MODELYARD_CACHE") or cache),
            state=Path(environment.get("MODELYARD_STATE") or state),
            api_port=int(port),
            context=environment.get("CONTEXT", ""),
            registry=environment.get("REGISTRY", ""),
        )

    @property
    def pki(self) -> Path:
        """Keys, certificates and kubeconfigs."""
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig for processes outside the cluster's namespaces."""
        return self.pki / "host.kubeconfig"

    @property
    def run(self) -> Path:
        """Process ids, sockets and the ready mark of a running cluster."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """One log a component."""
        return self.state / "log"

    @property
    def audit_log(self) -> Path:
        """What the API server records of the operator's requests."""
        return self.logs / "audit.log"
