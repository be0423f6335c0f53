"""The children of a collection in full: the ConfigMap that names what may be deleted, and the Job that deletes it."""

from typing import Any

from modelyard.contract.retention import COLLECTION_DOCUMENT, Collection
from modelyard.contract.wire import PVC_ROOT, RUN_FOLDER, Component, Environment
from modelyard_operator.outcome import TrainingView
from modelyard_operator.pods import (
    child_name,
    claims_of,
    container_security,
    env_from,
    environment,
    fingerprint,
    owner_reference,
    pod_security,
    scheduling,
    volumes_of,
)
from modelyard_operator.training.manifests import run_labels

__all__ = ["COLLECTOR", "name_collection", "render_collection"]

Json = dict[str, Any]

#: The container that deletes.
COLLECTOR = "collector"
_DEADLINE_SECONDS = 1800
_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


def name_collection(view: TrainingView, collection: Collection, after: str) -> str:
    """Return the Job's name: a function of what is to be deleted and of the collection before it."""
    named = [[item.checkpoint for item in collection.expire], collection.over]
    digits = fingerprint([view.training.metadata.uid, "collect", after, named])
    return child_name(f"{view.training.metadata.name}-collect", digits)


def render_collection(view: TrainingView, name: str, collection: Collection) -> tuple[Json, Json]:
    """Return the ConfigMap and the Job. Its pod has the storage access of the training's own pods and nothing else."""
    training, spec = view.training, view.training.spec
    labels = run_labels(training, name, Component.COLLECT)
    metadata = {
        "name": name,
        "namespace": training.metadata.namespace,
        "labels": labels,
        "ownerReferences": [owner_reference(training, "ModelTraining")],
    }
    document = collection.model_dump_json(by_alias=True, indent=2)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True}
    claims = claims_of([spec.output.uri])
    volumes, mounts = volumes_of(claims, writable=claims)
    volumes.append({"name": "run", "configMap": {"name": name}})
    mounts.append({"name": "run", "mountPath": RUN_FOLDER, "readOnly": True})
    container = {
        "name": COLLECTOR,
        # the user's own image may hold nothing of ours
        "image": view.defaults.training_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "modelyard_trainer.collecting", f"{RUN_FOLDER}/{COLLECTION_DOCUMENT}"],
        "env": environment({Environment.PVC_ROOT: PVC_ROOT}),
        **env_from(spec.storage),
        "resources": _RESOURCES,
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "securityContext": pod_security(),
            **scheduling(spec, spec.storage),
            "containers": [container],
            "volumes": volumes,
        },
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "annotations": {}},
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "template": template,
        },
    }
    return config | {"data": {COLLECTION_DOCUMENT: document}}, job
