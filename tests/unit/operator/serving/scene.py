"""A serving and its children, moved from pass to pass by hand; pods become ready when a test says so."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.meta import ConditionType
from modelyard.contract.serving import ModelServing, ServingStatus
from modelyard.contract.training import ModelTraining
from modelyard_operator import checkpoint as checkpoints
from modelyard_operator import serving as servings
from modelyard_operator.conditions import find
from modelyard_operator.outcome import CheckpointView, Outcome, ServingView
from tests.support.objects import DEFAULTS, NOW, checkpoint, live, pod, ready_pod, training, waiting

Json = dict[str, Any]


class Scene:
    """Carries outcomes into the next view, as the machine, the API server and the ReplicaSet controller do."""

    def __init__(
        self, serving: ModelServing, *given: ModelCheckpoint, by: ModelTraining | None = None, **view: Any
    ) -> None:
        self.view = ServingView(serving=serving, defaults=DEFAULTS, training=by or training(), **view)
        self.now: datetime = NOW
        self.outcome = Outcome(serving.status)
        self.services: dict[str, Json] = {}
        self.deployments: dict[str, Json] = {}
        self.broken: dict[str, Json] = {}
        self.publish(*given)

    def publish(self, *given: ModelCheckpoint) -> None:
        """Add checkpoints and let their gate judge them."""
        judged = []
        for item in (*self.view.checkpoints, *given):
            status = checkpoints.conclude(CheckpointView(item, self.view.training), self.now).status
            judged.append(item.model_copy(update={"status": status}))
        self.see(checkpoints=tuple(judged))

    def act(self) -> Outcome:
        """Run one pass and carry it out."""
        self.outcome = servings.conclude(self.view, self.now)
        for manifest in self.outcome.apply:
            self._applied(dict(manifest))
        for deletion in self.outcome.delete:
            assert deletion.kind == "Deployment"
            assert deletion.uid == self.deployments.pop(deletion.name)["metadata"]["uid"]
        self.see(serving=self.view.serving.model_copy(update={"status": self.status}))
        self._settle_pods()
        return self.outcome

    def crash(self, writes: int) -> None:
        """Run one pass that ends after some writes: the rest of them, and the status, never happen."""
        outcome = servings.conclude(self.view, self.now)
        for manifest in outcome.apply[:writes]:
            self._applied(dict(manifest))
        for deletion in outcome.delete[: max(0, writes - len(outcome.apply))]:
            del self.deployments[deletion.name]
        self._settle_pods()

    def settle(self, passes: int = 60) -> None:
        """Let pods become ready and run passes until nothing changes any more."""
        for _ in range(passes):
            before = (self.view, dict(self.deployments))
            self.ready()
            self.act()
            if (self.view, self.deployments) == before:
                return
        raise AssertionError("the serving does not come to rest")

    def ready(self, count: int = 1) -> None:
        """Let some pods of each revision that works become ready."""
        pods: list[Json] = []
        left = {name: count for name in self.deployments if name not in self.broken}
        for item in map(dict, self.view.pods):
            name = _revision(item)
            if not _is_ready(item) and left.get(name, 0) > 0:
                left[name] -= 1
                item = ready_pod(self.deployments[name], item["metadata"]["name"])
            pods.append(item)
        self._show(pods)

    def breaks(self, name: str, state: Json) -> None:
        """Let a revision's pods never become ready; they are in this state."""
        self.broken[name] = state
        self._settle_pods()

    @property
    def status(self) -> ServingStatus:
        assert isinstance(self.outcome.status, ServingStatus)
        return ServingStatus.model_validate(self.outcome.status.document())

    def told(self, kind: ConditionType) -> tuple[str, str, str]:
        condition = find(self.status.conditions, kind)
        assert condition is not None
        return condition.status, condition.reason, condition.message

    @property
    def sizes(self) -> dict[str, int]:
        return {name: item["spec"]["replicas"] for name, item in sorted(self.deployments.items())}

    @property
    def stable(self) -> str:
        assert self.status.stable is not None
        return self.status.stable.name

    @property
    def candidate(self) -> str:
        assert self.status.candidate is not None
        return self.status.candidate.name

    def see(self, **view: Any) -> None:
        self.view = replace(self.view, **view)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def change(self, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Change the spec as `kubectl apply` does."""
        before = self.view.serving
        known = before.metadata
        update = {"generation": known.generation + 1, "annotations": annotations or known.annotations}
        wanted = type(before.spec).model_validate(before.spec.document() | spec)
        self.see(serving=before.model_copy(update={"metadata": known.model_copy(update=update), "spec": wanted}))

    def lose(self, name: str) -> None:
        """Delete a Deployment behind the operator's back."""
        del self.deployments[name]
        self._settle_pods()

    def _applied(self, manifest: Json) -> None:
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "Deployment":
            self.deployments[name] = live(manifest)
        else:
            self.services[manifest["kind"]] = live(manifest)

    def _settle_pods(self) -> None:
        """Act as the ReplicaSet controller: unready pods go first."""
        pods: list[Json] = []
        for name, deployment in self.deployments.items():
            mine = [dict(item) for item in self.view.pods if _revision(item) == name]
            mine.sort(key=_is_ready, reverse=True)
            wanted = deployment["spec"]["replicas"]
            mine = mine[:wanted]
            taken = {item["metadata"]["name"] for item in mine}
            free = [child for number in range(2 * wanted) if (child := f"{name}-{number}") not in taken]
            starting = waiting("ContainerCreating")
            mine += [pod(deployment, child, starting, container="server") for child in free[: wanted - len(mine)]]
            pods += [self._shape(name, item) for item in mine]
        self._show(pods)

    def _shape(self, name: str, item: Json) -> Json:
        if name not in self.broken:
            return item
        return pod(self.deployments[name], item["metadata"]["name"], self.broken[name], container="server")

    def _show(self, pods: list[Json]) -> None:
        shown = []
        for name, deployment in self.deployments.items():
            mine = [item for item in pods if _revision(item) == name]
            status = {"replicas": len(mine), "readyReplicas": sum(map(_is_ready, mine))}
            shown.append({**deployment, "status": status})
        kept = [item for item in pods if _revision(item) in self.deployments]
        self.see(pods=tuple(kept), deployments=tuple(shown))


def _revision(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["labels"]["modelyard.dev/revision"])


def _is_ready(item: Mapping[str, Any]) -> bool:
    return any(known["type"] == "Ready" and known["status"] == "True" for known in item["status"].get("conditions", []))


def serve(serving: ModelServing, *given: ModelCheckpoint, by: ModelTraining | None = None) -> Scene:
    """Return a serving that has come to rest on its first revision."""
    scene = Scene(serving, *(given or (checkpoint(),)), by=by)
    scene.act()
    scene.settle()
    return scene
