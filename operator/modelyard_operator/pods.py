"""Parts that the pod templates of trainings and servings share; pure, and all pass the restricted standard."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from modelyard.contract.meta import API_VERSION, Resource
from modelyard.contract.pods import Resources, Scheduling, Storage
from modelyard.contract.wire import PVC_ROOT, STATUS_PORT

__all__ = [
    "SCRATCH",
    "USER",
    "child_name",
    "claims_of",
    "compute",
    "container_security",
    "env_from",
    "environment",
    "fingerprint",
    "owner_reference",
    "pod_security",
    "scheduling",
    "status_port",
    "volumes_of",
]

Json = dict[str, Any]

#: The user and group of every pod; volumes belong to the group.
USER = 65532
#: The only folder that pods can write to, apart from claims.
SCRATCH = "/tmp"


def fingerprint(document: Any, length: int = 8) -> str:
    """Return the first hexadecimal digits of a JSON document's SHA-256; key order does not matter."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def child_name(parent: str, digits: str, longest: int = 43) -> str:
    """Return a child's name: its parent's, cut to `longest`, and digits that tell what it is of.

    43 leaves room for `-` and eight digits in 52 characters, which a Job's pods can bear.
    """
    return f"{parent[:longest].rstrip('-')}-{digits}"


def owner_reference(parent: Resource, kind: str) -> Json:
    """Return the reference that makes the garbage collector remove a child with its parent."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": parent.metadata.name,
        "uid": parent.metadata.uid,
        "controller": True,
    }


def pod_security() -> Json:
    """Return the pod's security context. Ownership of a large volume is changed only when its root differs."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Json:
    """Return the container's security context."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def environment(variables: Mapping[str, str]) -> list[Json]:
    """Return environment variables in the given order; programs find a writable home."""
    return [{"name": name, "value": value} for name, value in ({**variables, "HOME": SCRATCH}).items()]


def env_from(storage: Storage) -> Json:
    """Return the Secrets that become environment variables; a missing one holds the pod back."""
    sources = [{"secretRef": {"name": name, "optional": False}} for name in storage.secret_names]
    return {"envFrom": sources} if sources else {}


def compute(resources: Resources) -> Json:
    """Return the container's resources."""
    document = {key: value for key, value in resources.document().items() if value}
    return {"resources": document} if document else {}


def status_port() -> Json:
    """Return the port that the operator and Prometheus pull from."""
    return {"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}


def scheduling(spec: Scheduling, storage: Storage) -> Json:
    """Return the pod fields that a spec passes on unchanged, and the service account."""
    fields = {
        "nodeSelector": spec.node_selector,
        "tolerations": [toleration.document() for toleration in spec.tolerations],
        "affinity": spec.affinity,
        "priorityClassName": spec.priority_class_name,
        "runtimeClassName": spec.runtime_class_name,
        "serviceAccountName": storage.service_account_name,
    }
    return {"automountServiceAccountToken": False} | {key: value for key, value in fields.items() if value}


def claims_of(uris: Iterable[str]) -> list[str]:
    """Return the claims of `pvc://CLAIM/PATH` addresses, each once, in order."""
    prefix = "pvc://"
    names = (uri.removeprefix(prefix).split("/", 1)[0] for uri in uris if uri.startswith(prefix))
    return list(dict.fromkeys(names))


def volumes_of(claims: Iterable[str], writable: Iterable[str] = ()) -> tuple[list[Json], list[Json]]:
    """Return (volumes, mounts) for claims and the scratch folder; claims not listed as writable are read-only."""
    may_write = frozenset(writable)
    volumes: list[Json] = [{"name": "scratch", "emptyDir": {}}]
    mounts: list[Json] = [{"name": "scratch", "mountPath": SCRATCH}]
    for index, claim in enumerate(claims):
        name = f"claim-{index}"
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim}})
        mount = {"name": name, "mountPath": f"{PVC_ROOT}/{claim}"}
        mounts.append(mount if claim in may_write else mount | {"readOnly": True})
    return volumes, mounts
