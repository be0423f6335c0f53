"""The children of a serving in full: Service, PodDisruptionBudget, Deployments."""

from copy import deepcopy
from typing import Any

from modelyard.contract.serving import ModelServing
from modelyard.contract.wire import Annotation, Label
from modelyard_operator.outcome import Manifest
from modelyard_operator.pods import owner_reference
from modelyard_operator.serving.revision import Rendered, serving_labels

__all__ = ["render_budget", "render_deployment", "render_service", "resize_deployment", "selector_of", "url_of"]

Json = dict[str, Any]


def selector_of(serving: ModelServing) -> dict[str, str]:
    """Return the labels that tell the serving's pods, of all revisions, from all others."""
    return {Label.SERVING: serving.metadata.name}


def url_of(serving: ModelServing) -> str:
    """Return the stable address inside the cluster."""
    scheme = "https" if serving.spec.access.tls_secret else "http"
    return f"{scheme}://{serving.metadata.name}.{serving.metadata.namespace}.svc"


def render_service(serving: ModelServing) -> Json:
    """Return the Service: traffic goes to the ready pods of every revision."""
    encrypted = serving.spec.access.tls_secret is not None
    http: Json = {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
    if encrypted:
        http = http | {"name": "https", "port": 443, "appProtocol": "https"}
    grpc = {"name": "grpc", "port": 8500, "targetPort": "grpc", "protocol": "TCP"}
    grpc["appProtocol"] = "https" if encrypted else "kubernetes.io/h2c"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(serving, serving.metadata.name),
        "spec": {"type": "ClusterIP", "selector": selector_of(serving), "ports": [http, grpc]},
    }


def render_budget(serving: ModelServing) -> Json:
    """Return the budget: a drain takes a tenth of the pods at a time, at least one; broken pods never block it."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(serving, serving.metadata.name),
        "spec": {
            "maxUnavailable": "10%",
            "selector": {"matchLabels": selector_of(serving)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def render_deployment(serving: ModelServing, revision: Rendered, replicas: int) -> Json:
    """Return a revision's Deployment. Its template never changes: another template is another revision."""
    labels = {Label.REVISION: revision.name}
    package = revision.package
    told = {Annotation.CHECKPOINT: package.checkpoint} if package.checkpoint else {}
    metadata = _metadata(serving, revision.name, labels) | {"annotations": {Annotation.DIGEST: package.digest, **told}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": selector_of(serving) | labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": deepcopy(revision.template),
        },
    }


def resize_deployment(deployment: Manifest, replicas: int) -> Json:
    """Return a live Deployment's own intent with another size.

    The present spec may make another template, and this revision keeps the one it has.
    """
    metadata = deployment["metadata"]
    kept = ("name", "namespace", "labels", "ownerReferences")
    annotations = {
        key: value
        for key, value in metadata.get("annotations", {}).items()
        if key in {Annotation.CHECKPOINT, Annotation.DIGEST}
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {key: deepcopy(metadata[key]) for key in kept if key in metadata} | {"annotations": annotations},
        "spec": deepcopy(dict(deployment["spec"])) | {"replicas": replicas},
    }


def _metadata(serving: ModelServing, name: str, labels: dict[str, str] | None = None) -> Json:
    return {
        "name": name,
        "namespace": serving.metadata.namespace,
        "labels": serving_labels(serving) | (labels or {}),
        "ownerReferences": [owner_reference(serving, "ModelServing")],
    }
