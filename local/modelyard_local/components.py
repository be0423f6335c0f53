"""The components of the node: what is started, in which order. Pure: settings in, command lines out."""

from dataclasses import dataclass
from pathlib import Path

from modelyard_local.settings import NODE, NODE_ADDRESS, POD_RANGE, SERVICE_RANGE, Settings

__all__ = ["Component", "components"]


@dataclass(frozen=True, slots=True)
class Component:
    """A process that is kept alive."""

    name: str
    command: tuple[str, ...]
    phase: int
    """0: at once; 1: when the API server answers."""


def components(settings: Settings, binaries: Path) -> list[Component]:
    """Return every component of the node."""
    return [
        Component("etcd", _etcd(settings, binaries), 0),
        Component("containerd", ("containerd", "--config", f"{settings.state}/etc/containerd.toml"), 0),
        Component("kube-apiserver", _api_server(settings, binaries), 0),
        Component("api-relay", _relay(settings), 0),
        Component("kube-controller-manager", _controller_manager(settings, binaries), 1),
        Component("kube-scheduler", _scheduler(settings, binaries), 1),
        Component("kubelet", _kubelet(settings, binaries), 1),
        Component("kube-proxy", (f"{binaries}/kube-proxy", "--config", f"{settings.state}/etc/proxy.yaml"), 1),
        Component("netpol", (f"{binaries}/netpol", f"--kubeconfig={settings.pki}/netpol.kubeconfig"), 1),
        Component(
            "volumes",
            (
                f"{binaries}/volumes",
                f"--kubeconfig={settings.pki}/volumes.kubeconfig",
                f"--root={settings.state}/volumes",
            ),
            1,
        ),
    ]


def _relay(settings: Settings) -> tuple[str, ...]:
    """Hand the API server to processes outside the namespaces, by way of a socket in the file system."""
    return ("socat", f"UNIX-LISTEN:{settings.run}/api.sock,fork,unlink-early", f"TCP:{NODE_ADDRESS}:6443")


def _etcd(settings: Settings, binaries: Path) -> tuple[str, ...]:
    return (
        f"{binaries}/etcd",
        f"--data-dir={settings.state}/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
    )


def _api_server(settings: Settings, binaries: Path) -> tuple[str, ...]:
    pki = settings.pki
    issuer = "https://kubernetes.default.svc.cluster.local"
    return (
        f"{binaries}/kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={NODE_ADDRESS}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--service-account-issuer={issuer}",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        f"--audit-policy-file={settings.state}/etc/audit.yaml",
        f"--audit-log-path={settings.audit_log}",
        "--audit-log-maxsize=50",
        "--audit-log-maxbackup=1",
    )


def _as(settings: Settings, name: str) -> tuple[str, ...]:
    kubeconfig = f"{settings.pki}/{name}.kubeconfig"
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--bind-address=127.0.0.1",
    )


def _controller_manager(settings: Settings, binaries: Path) -> tuple[str, ...]:
    pki = settings.pki
    return (
        f"{binaries}/kube-controller-manager",
        *_as(settings, "controller-manager"),
        f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--use-service-account-credentials",
        f"--cluster-cidr={POD_RANGE}",
        # a cluster for trying things out: autoscaling should be seen within seconds
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--horizontal-pod-autoscaler-downscale-stabilization=20s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=30s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
    )


def _scheduler(settings: Settings, binaries: Path) -> tuple[str, ...]:
    return (f"{binaries}/kube-scheduler", *_as(settings, "scheduler"))


def _kubelet(settings: Settings, binaries: Path) -> tuple[str, ...]:
    return (
        f"{binaries}/kubelet",
        f"--root-dir={settings.state}/kubelet",
        f"--config={settings.state}/etc/kubelet.yaml",
        f"--kubeconfig={settings.pki}/kubelet.kubeconfig",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_ADDRESS}",
    )
