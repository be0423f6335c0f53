"""Gathering: from the store to the frozen view that a pass decides from."""

from collections.abc import Iterable, Mapping
from typing import Any

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.meta import Resource
from modelyard.contract.serving import ModelServing
from modelyard.contract.training import ModelTraining
from modelyard.contract.wire import MANAGED_BY, Component, Label, Progress, ServingSummary
from modelyard_operator.outcome import (
    CheckpointView,
    OperatorDefaults,
    Sample,
    ServingView,
    TrainingView,
)
from modelyard_operator.scripts import TrainingScripts
from modelyard_operator.store import Key, Store
from modelyard_operator.training.jobs import is_going

__all__ = ["checkpoint_view", "serving_view", "training_view"]

Json = dict[str, Any]


def training_view(
    store: Store,
    training: ModelTraining,
    defaults: OperatorDefaults,
    scripts: TrainingScripts,
    progress: Mapping[str, Sample[Progress]],
) -> TrainingView:
    """Gather what a training's pass may look at."""
    key = Key("ModelTraining", training.metadata.namespace, training.metadata.name)
    jobs = _owned(store.related("Job", key), training)
    configs = _owned(store.related("ConfigMap", key), training)
    uids = {job["metadata"]["uid"] for job in jobs}
    pods = tuple(pod for pod in store.related("Pod", key) if _owner(pod) in uids)
    return TrainingView(
        training=training,
        defaults=defaults,
        script=scripts.own,
        step_scripts=scripts.steps,
        jobs=_part(jobs, Component.TRAINING),
        steps=_part(jobs, Component.PREPARE),
        collections=_part(jobs, Component.COLLECT),
        pods=pods,
        configs=_part(configs, Component.TRAINING),
        step_configs=_part(configs, Component.PREPARE),
        collection_configs=_part(configs, Component.COLLECT),
        links=_owned((*store.related("Service", key), *store.related("NetworkPolicy", key)), training),
        checkpoints=tuple(map(ModelCheckpoint.read, store.related("ModelCheckpoint", key))),
        # asked for only when packages may be collected, and many
        users=() if any(map(is_going, jobs)) else _users(store, key.namespace),
        progress={uid: progress[uid] for uid in _uids(pods) if uid in progress},
    )


def checkpoint_view(store: Store, body: Json) -> CheckpointView:
    """Gather what a checkpoint's pass may look at."""
    checkpoint = ModelCheckpoint.read(body)
    namespace, name = checkpoint.metadata.namespace, checkpoint.metadata.name
    training = (
        store.get(Key("ModelTraining", namespace, checkpoint.spec.training)) if checkpoint.spec.training else None
    )
    return CheckpointView(
        checkpoint=checkpoint,
        training=ModelTraining.read(training) if training else None,
        servings=tuple(map(ModelServing.read, store.related("ModelServing", Key("ModelCheckpoint", namespace, name)))),
    )


def serving_view(
    store: Store, body: Json, defaults: OperatorDefaults, summaries: Mapping[str, Sample[ServingSummary]]
) -> ServingView:
    """Gather what a serving's pass may look at."""
    serving = ModelServing.read(body)
    namespace, name = serving.metadata.namespace, serving.metadata.name
    key = Key("ModelServing", namespace, name)
    deployments = _owned(store.related("Deployment", key), serving)
    pods = tuple(store.related("Pod", key)) if deployments else ()
    followed = Key("ModelTraining", namespace, serving.spec.model.training or "")
    training = store.get(followed)
    return ServingView(
        serving=serving,
        defaults=defaults,
        training=ModelTraining.read(training) if training else None,
        checkpoints=tuple(map(ModelCheckpoint.read, _checkpoints(store, serving, followed))),
        deployments=deployments,
        pods=pods,
        service=_one(_owned(store.related("Service", key), serving), name),
        disruption_budget=_one(_owned(store.related("PodDisruptionBudget", key), serving), name),
        summaries={uid: summaries[uid] for uid in _uids(pods) if uid in summaries},
    )


def _checkpoints(store: Store, serving: ModelServing, followed: Key) -> list[Json]:
    roles = (serving.status.stable, serving.status.candidate)
    names = [serving.spec.model.checkpoint, *(role.checkpoint for role in roles if role is not None)]
    found = {item["metadata"]["name"]: item for item in store.related("ModelCheckpoint", followed)}
    for name in filter(None, names):
        item = store.get(Key("ModelCheckpoint", serving.metadata.namespace, name))
        if item is not None:
            found.setdefault(name, item)
    return list(found.values())


def _owned(items: Iterable[Json], parent: Resource) -> tuple[Json, ...]:
    return tuple(item for item in items if _owner(item) == parent.metadata.uid)


def _users(store: Store, namespace: str) -> tuple[Json, ...]:
    """Return what may name packages beside the training: servings, and checkpoints that the operator did not write."""
    servings = store.objects("ModelServing")
    others = (item for item in store.objects("ModelCheckpoint") if not _is_ours(item))
    return tuple(item for item in (*servings, *others) if item["metadata"].get("namespace") == namespace)


def _is_ours(item: Json) -> bool:
    return bool(item["metadata"].get("labels", {}).get(Label.MANAGED_BY) == MANAGED_BY)


def _part(items: Iterable[Json], component: str) -> tuple[Json, ...]:
    return tuple(item for item in items if item["metadata"].get("labels", {}).get(Label.COMPONENT) == component)


def _owner(item: Json) -> str:
    references = item["metadata"].get("ownerReferences", ())
    return next((str(reference["uid"]) for reference in references if reference.get("controller")), "")


def _one(items: Iterable[Json], name: str) -> Json | None:
    return next((item for item in items if item["metadata"]["name"] == name), None)


def _uids(pods: Iterable[Json]) -> list[str]:
    return [pod["metadata"]["uid"] for pod in pods]
