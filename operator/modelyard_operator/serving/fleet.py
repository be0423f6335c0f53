"""Fleet: the revisions that have a Deployment, as they are now."""

from dataclasses import dataclass
from typing import Any

from modelyard.contract.wire import Annotation, Environment, Label
from modelyard_operator.outcome import Manifest, ServingView
from modelyard_operator.serving.revision import CONTAINER, Package, package_of
from modelyard_operator.troubles import is_leaving, is_ready

__all__ = ["Fleet", "Group", "observe_fleet"]


@dataclass(frozen=True, slots=True)
class Group:
    """One revision's Deployment and pods."""

    name: str
    deployment: Manifest
    package: Package
    pods: tuple[Manifest, ...]
    """Pods that are there and not leaving."""
    desired: int
    """`spec.replicas` of the Deployment."""
    existing: int
    """Pods that are there, by the larger of what the Deployment and the pods themselves say."""
    ready: int
    """Ready pods, by the smaller of what the Deployment and the pods themselves say: never one too many."""

    @property
    def leaving(self) -> bool:
        """Whether the Deployment is being deleted."""
        return bool(self.deployment["metadata"].get("deletionTimestamp"))


#: By revision name.
Fleet = dict[str, Group]


def observe_fleet(view: ServingView) -> Fleet:
    """Return the revisions that have a Deployment of this serving, in the order of their names."""
    pods: dict[str, list[Manifest]] = {}
    for pod in view.pods:
        revision = pod["metadata"].get("labels", {}).get(Label.REVISION, "")
        pods.setdefault(revision, []).append(pod)
    groups = (_observe(view, item, pods.get(item["metadata"]["name"], [])) for item in view.deployments)
    return {group.name: group for group in sorted(groups, key=lambda group: group.name)}


def _observe(view: ServingView, deployment: Manifest, pods: list[Manifest]) -> Group:
    staying = tuple(pod for pod in pods if not is_leaving(pod))
    status = deployment.get("status", {})
    return Group(
        name=deployment["metadata"]["name"],
        deployment=deployment,
        package=_package(view, deployment),
        pods=staying,
        desired=int(deployment["spec"].get("replicas", 1)),
        existing=max(len(staying), int(status.get("replicas") or 0)),
        ready=min(sum(map(is_ready, staying)), int(status.get("readyReplicas") or 0)),
    )


def _package(view: ServingView, deployment: Manifest) -> Package:
    """Return what a Deployment serves: from the status, else from a checkpoint, else from its own template."""
    name = deployment["metadata"]["name"]
    for revision in (view.serving.status.stable, view.serving.status.candidate):
        if revision is not None and revision.name == name:
            return package_of(revision)
    template = deployment["spec"]["template"]
    annotations: dict[str, str] = template["metadata"].get("annotations", {})
    checkpoint, digest = annotations.get(Annotation.CHECKPOINT), annotations.get(Annotation.DIGEST, "")
    for known in view.checkpoints:
        if known.metadata.name == checkpoint and known.spec.digest == digest:
            return package_of(known)
    return Package(_environment(template).get(Environment.PACKAGE_URI, ""), digest, checkpoint)


def _environment(template: dict[str, Any]) -> dict[str, str]:
    containers = template["spec"]["containers"]
    variables = next((item.get("env") or [] for item in containers if item.get("name") == CONTAINER), [])
    return {item["name"]: item.get("value", "") for item in variables}
