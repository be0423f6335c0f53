"""Links: what the processes of a distributed training find each other by, and what keeps others out.

A headless Service gives each task a host name that outlives its pods. TensorFlow's port takes orders from whoever
reaches it, so a NetworkPolicy lets only the training's own pods in; the status port stays open.
"""

from typing import Any

from modelyard.contract.distribution import TENSORFLOW_PORT, workers_service
from modelyard.contract.training import ModelTraining
from modelyard.contract.wire import MANAGED_BY, STATUS_PORT, Label
from modelyard_operator.outcome import Deletion, Manifest, TrainingView
from modelyard_operator.pods import owner_reference

__all__ = ["outdated_links", "render_links"]

Json = dict[str, Any]


def render_links(training: ModelTraining) -> tuple[Manifest, ...]:
    """Return the Service and the NetworkPolicy; nothing for a training of one process."""
    if training.spec.distribution is None:
        return ()
    selector = {Label.COMPONENT: "training", Label.TRAINING: training.metadata.name}
    metadata = {
        "name": workers_service(training.metadata.name),
        "namespace": training.metadata.namespace,
        "labels": {Label.MANAGED_BY: MANAGED_BY, Label.NAME: training.metadata.name, **selector},
        "ownerReferences": [owner_reference(training, "ModelTraining")],
    }
    service: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            "selector": selector,
            # they look for each other before any of them is ready
            "publishNotReadyAddresses": True,
            "ports": [{"name": "tensorflow", "port": TENSORFLOW_PORT, "protocol": "TCP"}],
        },
    }
    policy: Json = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": selector},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": {"matchLabels": selector}}]},
                {"ports": [{"port": STATUS_PORT, "protocol": "TCP"}]},
            ],
        },
    }
    return service, policy


def outdated_links(view: TrainingView) -> tuple[Deletion, ...]:
    """Return the deletions of what a training of one process has left of its time as several."""
    if view.training.spec.distribution is not None:
        return ()
    return tuple(
        Deletion(item["apiVersion"], item["kind"], metadata["namespace"], metadata["name"], metadata.get("uid", ""))
        for item in view.links
        if not (metadata := item["metadata"]).get("deletionTimestamp")
    )
