"""Objects for tests of the operator's stages: resources, Jobs, Deployments and pods as an API server holds them."""

import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.meta import API_VERSION
from modelyard.contract.serving import ModelServing
from modelyard.contract.training import ModelTraining
from modelyard.contract.wire import Label, Phase, Published, Termination
from modelyard_operator.outcome import OperatorDefaults

Json = dict[str, Any]

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
DEFAULTS = OperatorDefaults(
    training_image="registry.test/training:1",
    serving_image="registry.test/serving:1",
    serving_tensorflow_image="registry.test/serving-tensorflow:1",
)
NAMESPACE = "team"


def merge(document: Json, patch: Mapping[str, Any]) -> Json:
    """Return a document with a JSON merge patch applied."""
    merged = copy.deepcopy(document)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = merge(merged.get(key, {}), value)
        else:
            merged[key] = value
    return merged


def digest_of(number: int) -> str:
    return f"sha256:{number:064x}"


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def metadata(name: str, *, age: float = 0, **more: Any) -> Json:
    created = rfc3339(NOW - timedelta(seconds=age))
    known = {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}", "generation": 1, "resourceVersion": "1"}
    return known | {"creationTimestamp": created} | more


def training(name: str = "digits", *, status: Any = None, annotations: Any = None, **spec: Any) -> ModelTraining:
    """Return a training; `spec` replaces fields of a small one (None leaves a field out)."""
    base: Json = {"module": "example.train", "output": {"uri": "pvc://models/digits"}}
    wanted = {key: value for key, value in (base | spec).items() if value is not None}
    body = {"metadata": metadata(name, annotations=annotations or {}), "spec": wanted, "apiVersion": API_VERSION}
    return ModelTraining.read(body | ({"status": status.document()} if status else {}))


def serving(name: str = "digits", *, status: Any = None, annotations: Any = None, **spec: Any) -> ModelServing:
    wanted = {"model": {"training": "digits"}, "replicas": 3} | spec
    body = {"metadata": metadata(name, annotations=annotations or {}), "spec": wanted, "apiVersion": API_VERSION}
    return ModelServing.read(body | ({"status": status.document()} if status else {}))


def checkpoint(
    name: str = "digits-1", *, number: int = 1, age: float = 60, status: Any = None, **spec: Any
) -> ModelCheckpoint:
    wanted = {
        "uri": f"pvc://models/digits/{number}",
        "digest": digest_of(number),
        "training": "digits",
        "step": number,
        "metrics": {"accuracy": 0.97},
    } | spec
    body = {
        "metadata": metadata(name, age=age),
        "spec": {key: value for key, value in wanted.items() if value is not None},
        "apiVersion": API_VERSION,
    }
    return ModelCheckpoint.read(body | ({"status": status.document()} if status else {}))


def live(manifest: Mapping[str, Any], *, age: float = 0, **status: Any) -> Json:
    """Return a manifest as the API server would hold it."""
    return {
        **manifest,
        "metadata": {**metadata(manifest["metadata"]["name"], age=age), **manifest["metadata"]},
        "status": status,
    }


def ended_job(manifest: Mapping[str, Any], *, condition: str = "Complete", reason: str = "", age: float = 60) -> Json:
    """Return a Job that completed or failed just now."""
    ended = {"type": condition, "status": "True", "reason": reason, "lastTransitionTime": rfc3339(NOW)}
    more = {"completionTime": rfc3339(NOW)} if condition == "Complete" else {}
    return live(manifest, age=age, conditions=[ended], **more)


def pod(
    owner: Mapping[str, Any],
    name: str,
    state: Mapping[str, Any] | None = None,
    *,
    container: str = "trainer",
    **more: Any,
) -> Json:
    """Return a pod of a Job or Deployment whose container is in `state`; `more` is merged into the pod's status."""
    status: Json = {"phase": "Pending"}
    if state is not None:
        status["containerStatuses"] = [{"name": container, "state": dict(state), "restartCount": 0}]
    if state and "running" in state:
        status["phase"] = "Running"
    if state and "terminated" in state:
        status["phase"] = "Succeeded" if state["terminated"]["exitCode"] == 0 else "Failed"
    labels = owner["spec"]["template"]["metadata"]["labels"]
    containers = [
        {"name": item["name"], "image": item["image"]} for item in owner["spec"]["template"]["spec"]["containers"]
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, labels=dict(labels)),
        "spec": {"containers": containers},
        "status": status | more,
    }


def running() -> Json:
    return {"running": {"startedAt": rfc3339(NOW)}}


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def terminated(code: int, message: str = "", reason: str = "") -> Json:
    told = reason or ("Completed" if code == 0 else "Error")
    return {"terminated": {"exitCode": code, "message": message, "reason": told, "finishedAt": rfc3339(NOW)}}


def unschedulable(message: str, *, age: float = 0) -> Json:
    since = rfc3339(NOW - timedelta(seconds=age))
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"conditions": [condition | {"lastTransitionTime": since}]}


def package(step: int, **metrics: float) -> Published:
    return Published(step=step, uri=f"pvc://models/digits/{step}", digest=digest_of(step), metrics=metrics)


def final_record(*published: Published, phase: Phase = Phase.DONE, message: str = "") -> str:
    record = Termination(
        phase=phase, step=published[-1].step if published else 0, published=list(published), message=message
    )
    return record.model_dump_json(by_alias=True)


def ready_pod(deployment: Mapping[str, Any], name: str, *, ready: bool = True) -> Json:
    condition = {"type": "Ready", "status": str(ready)}
    return pod(deployment, name, running(), container="server", conditions=[condition])


def scaled(deployment: Mapping[str, Any], ready: int, unready: int = 0, *, age: float = 60) -> tuple[Json, list[Json]]:
    """Return a live Deployment and its pods."""
    name = deployment["metadata"]["name"]
    pods = [ready_pod(deployment, f"{name}-r{index}") for index in range(ready)]
    pods += [ready_pod(deployment, f"{name}-u{index}", ready=False) for index in range(unready)]
    return live(deployment, age=age, replicas=ready + unready, readyReplicas=ready), pods


def revision_of(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"]["labels"][Label.REVISION])
