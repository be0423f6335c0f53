"""The components' configuration files, as text. Pure: settings in, text out."""

import json
from pathlib import Path

from modelyard_local.settings import DNS_ADDRESS, NODE, PAUSE_IMAGE, POD_RANGE, Settings

__all__ = ["configuration_files", "write_configuration"]

_OPERATOR = "system:serviceaccount:modelyard-system:modelyard-operator"


def configuration_files(settings: Settings) -> dict[str, str]:
    """Return the name below `etc/` and the text of every file."""
    return {
        "resolv.conf": "search .\n",
        "cni/10-pods.conflist": json.dumps(_network(), indent=1),
        "containerd.toml": _containerd(settings),
        "kubelet.yaml": json.dumps(_kubelet(settings), indent=1),
        "proxy.yaml": json.dumps(_proxy(settings), indent=1),
        "audit.yaml": json.dumps(_audit(), indent=1),
    }


def _network() -> dict[str, object]:
    """A routed pair of links for each pod, so that packets between pods pass nftables' forward hook."""
    addresses = {
        "type": "host-local",
        "dataDir": "/var/lib/cni/ipam",
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def _containerd(settings: Settings) -> str:
    unused = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
    return f"""\
version = 2
root = "{settings.state}/containerd"
disabled_plugins = {json.dumps([*unused, "io.containerd.internal.v1.opt"])}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{settings.state}/etc/cni"
"""


def _kubelet(settings: Settings) -> dict[str, object]:
    pki = settings.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "resolvConf": f"{settings.state}/etc/resolv.conf",
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_ADDRESS],
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": "10s"},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet-server.key",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "4s",
        "maxPods": 200,
        "podLogsDir": f"{settings.state}/podlogs",
    }


def _proxy(settings: Settings) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "oomScoreAdj": 0,
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE,
        "clientConnection": {"kubeconfig": f"{settings.pki}/proxy.kubeconfig"},
        # the machine's own limits stay as they are
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms"},
    }


def _audit() -> dict[str, object]:
    """Record what the operator asks, so that a test can count its writes at the API server."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": [_OPERATOR]}, {"level": "None"}],
    }


def write_configuration(settings: Settings) -> None:
    """Write every file below the state's `etc/`."""
    for name, text in configuration_files(settings).items():
        path = Path(settings.state / "etc" / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
