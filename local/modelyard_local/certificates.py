"""One certificate authority and everything that is signed by it, made once with openssl and kept."""

import base64
import json
import subprocess
from pathlib import Path

from modelyard_local.settings import API_SERVICE_ADDRESS, NODE, NODE_ADDRESS, Settings

__all__ = ["create_certificates"]

_API_NAMES = (
    f"IP:{NODE_ADDRESS},IP:{API_SERVICE_ADDRESS},IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,"
    "DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
)
#: Name, subject, subject alternative names.
CERTIFICATES = (
    ("apiserver", "/CN=kube-apiserver", _API_NAMES),
    ("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", ""),
    ("front-proxy", "/CN=front-proxy-client", ""),
    ("kubelet-server", f"/O=system:nodes/CN=system:node:{NODE}", f"IP:{NODE_ADDRESS},DNS:{NODE}"),
    ("admin", "/O=system:masters/CN=admin", ""),
    ("kubelet", f"/O=system:nodes/CN=system:node:{NODE}", ""),
    ("controller-manager", "/CN=system:kube-controller-manager", ""),
    ("scheduler", "/CN=system:kube-scheduler", ""),
    ("proxy", "/CN=system:kube-proxy", ""),
    ("netpol", "/CN=netpol", ""),
    ("volumes", "/CN=volumes", ""),
)
CLIENTS = ("admin", "kubelet", "controller-manager", "scheduler", "proxy", "netpol", "volumes")
_DAYS = "3650"


def create_certificates(settings: Settings) -> None:
    """Make keys, certificates and kubeconfigs, unless that was done to the end before."""
    folder = settings.pki
    inside = f"https://{NODE_ADDRESS}:6443"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _authority(folder)
        for name, subject, names in CERTIFICATES:
            _sign(folder, name, subject, names)
        for name in CLIENTS:
            (folder / f"{name}.kubeconfig").write_text(_kubeconfig(folder, name, inside))
        (folder / "done").touch()
    settings.kubeconfig.write_text(_kubeconfig(folder, "admin", f"https://127.0.0.1:{settings.api_port}"))


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _key(folder: Path, name: str) -> None:
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")


def _authority(folder: Path) -> None:
    _key(folder, "ca")
    _openssl(
        folder,
        *("req", "-x509", "-new", "-key", "ca.key", "-days", _DAYS, "-subj", "/CN=modelyard-local", "-out", "ca.crt"),
        *("-addext", "basicConstraints=critical,CA:TRUE"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
    )
    _key(folder, "sa")
    _openssl(folder, "ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")


def _sign(folder: Path, name: str, subject: str, names: str) -> None:
    _key(folder, name)
    _openssl(folder, "req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    extensions = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    if names:
        extensions.append(f"subjectAltName={names}")
    (folder / f"{name}.ext").write_text("\n".join(extensions) + "\n")
    _openssl(
        folder,
        *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", _DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.crt"),
    )
    for suffix in ("csr", "ext"):
        (folder / f"{name}.{suffix}").unlink()


def _kubeconfig(folder: Path, client: str, server: str) -> str:
    def encoded(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    name = "modelyard-local"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": encoded("ca.crt")}}],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": encoded(f"{client}.crt"),
                    "client-key-data": encoded(f"{client}.key"),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return json.dumps(document, indent=1) + "\n"
