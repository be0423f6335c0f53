"""A cluster in memory: an API server that keeps objects, and the controllers and pods that act on them.

The API speaks the requests of `KubeApi`, so that everything above the HTTP connection is the operator's own code.
"""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.serving import ModelServing
from modelyard.contract.training import ModelTraining
from modelyard_operator.kube.client import KINDS, Conflict, Invalid, Kind, KubeApi, NotFound
from modelyard_operator.store import Key

Json = dict[str, Any]
Fault = Callable[[str, str, bool], None]

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
PARENTS: dict[str, Any] = {
    "ModelTraining": ModelTraining,
    "ModelCheckpoint": ModelCheckpoint,
    "ModelServing": ModelServing,
}


class Crash(BaseException):
    """The operator's process ends here."""


class Clock:
    """A clock that stands still between steps."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self.seconds = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Api(KubeApi):
    """The API server; `fault(method, path, done)` is called before and after every write and may raise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.objects: dict[Key, Json] = {}
        self._intents: dict[tuple[Key, str], Json] = {}
        self._version = 0
        self._uids = 0
        self.writes: list[str] = []
        self.fault: Fault = lambda method, path, done: None
        self.listeners: list[Callable[[str, Json], None]] = []

    async def close(self) -> None:
        pass

    async def request(
        self, method: str, kind: Kind, path: str, body: Any = None, query: Any = None, *, content: str = ""
    ) -> Json:
        if method == "GET":
            return self._read(kind, path, query or {})
        self.fault(method, path, False)
        result = self._write(method, kind, path, json.loads(json.dumps(body)), query or {})
        self.fault(method, path, True)
        return copy.deepcopy(result)

    # what people and controllers do

    def apply_as_user(self, manifest: Json) -> Json:
        key = Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return self._apply(key, copy.deepcopy(manifest), "kubectl", "")

    def change(self, key: Key, change: Callable[[Json], None]) -> None:
        fresh = copy.deepcopy(self.objects[key])
        change(fresh)
        self._store(key, fresh)

    def create_as_controller(self, manifest: Json) -> Json:
        return self._create(manifest)

    def remove(self, key: Key) -> None:
        body = self.objects.pop(key)
        self._intents = {pair: intent for pair, intent in self._intents.items() if pair[0] != key}
        self._tell("DELETED", body)
        self._collect(body["metadata"]["uid"])

    def of_kind(self, kind: str) -> list[Json]:
        return [body for key, body in sorted(self.objects.items()) if key.kind == kind]

    # the server

    def _read(self, kind: Kind, path: str, query: Json) -> Json:
        namespace, name, _ = _parts(kind, path)
        if name:
            key = Key(kind.kind, namespace, name)
            if key not in self.objects:
                raise NotFound(f"{key} is not there")
            return copy.deepcopy(self.objects[key])
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        items = [
            body
            for body in self.of_kind(kind.kind)
            if wanted.items() <= body["metadata"].get("labels", {}).items()
            and namespace in ("", body["metadata"]["namespace"])
        ]
        return {"items": copy.deepcopy(items), "metadata": {}}

    def _write(self, method: str, kind: Kind, path: str, body: Any, query: Json) -> Json:
        namespace, name, subresource = _parts(kind, path)
        key = Key(kind.kind, namespace, name)
        if method == "POST":
            return self._create(body)
        if method == "PATCH":
            return self._apply(key, body, query["fieldManager"], subresource)
        if key not in self.objects:
            raise NotFound(f"{key} is not there")
        if method == "DELETE":
            if body["preconditions"]["uid"] != self.objects[key]["metadata"]["uid"]:
                raise Conflict("another uid")
            self.writes.append(f"DELETE {kind.kind} {name}")
            self.remove(key)
            return {}
        if body["metadata"]["resourceVersion"] != self.objects[key]["metadata"]["resourceVersion"]:
            raise Conflict("another resourceVersion")
        self._store(key, body)
        return self.objects[key]

    def _create(self, body: Json) -> Json:
        key = Key(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
        if key in self.objects:
            raise Conflict(f"{key} is there")
        if key.kind != "Event":
            self.writes.append(f"CREATE {key.kind} {key.name}")
        self._store(key, body)
        return self.objects[key]

    def _apply(self, key: Key, intent: Json, manager: str, subresource: str) -> Json:
        live = self.objects.get(key)
        if live is None and subresource:
            raise NotFound(f"{key} is not there")
        metadata = intent["metadata"]
        for name in ("uid", "resourceVersion"):
            if live is not None and name in metadata and metadata[name] != live["metadata"][name]:
                raise Conflict(f"another {name}")
        intent["metadata"] = {name: value for name, value in metadata.items() if name not in ("uid", "resourceVersion")}
        before = self._intents.get((key, manager), {})
        fresh = _merge(_without(copy.deepcopy(live or {}), before, intent), intent)
        if live is not None and not subresource and key.kind == "Job":
            _refuse_change(live["spec"]["template"], fresh["spec"]["template"])
        self._intents[(key, manager)] = intent
        if live is None or _content(fresh) != _content(live):
            self.writes.append(f"APPLY {key.kind} {key.name}{'/' if subresource else ''}{subresource}")
            self._store(key, fresh)
        return self.objects[key]

    def _store(self, key: Key, fresh: Json) -> None:
        live = self.objects.get(key)
        if key.kind in PARENTS:
            fresh = {**fresh, "spec": PARENTS[key.kind].read({"metadata": {"name": "x"}, **fresh}).spec.document()}
        if live is not None and _content(fresh) == _content(live):
            return
        self._version += 1
        metadata = fresh["metadata"]
        if live is None:
            self._uids += 1
            metadata |= {"uid": f"uid-{self._uids}", "generation": 1}
            metadata["creationTimestamp"] = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        elif fresh.get("spec") != live.get("spec"):
            metadata["generation"] = live["metadata"]["generation"] + 1
        metadata["resourceVersion"] = str(self._version)
        self.objects[key] = fresh
        self._tell("ADDED" if live is None else "MODIFIED", fresh)

    def _tell(self, event: str, body: Json) -> None:
        for listener in self.listeners:
            listener(event, copy.deepcopy(body))

    def _collect(self, uid: str) -> None:
        """Delete what a deleted object owned, as the garbage collector does."""
        for key, body in list(self.objects.items()):
            owners = [owner["uid"] for owner in body["metadata"].get("ownerReferences", ())]
            if uid in owners and key in self.objects:
                self.remove(key)


class World:
    """Controllers and pods: Jobs run for some seconds, Deployments hold their pods, unless something is broken."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._numbers = iter(range(10**9))
        self.training_seconds = 5.0
        #: Names of the pods that Jobs have started, in order.
        self.started: list[str] = []
        #: From a run's document to its final record: (exit code, termination message).
        self.train: Callable[[Json], tuple[int, str]] = lambda document: (0, "")
        #: From what a collecting Job is told to its record.
        self.collect: Callable[[Json], str] = lambda document: ""
        #: Whether a serving pod becomes ready.
        self.serves: Callable[[Json], bool] = lambda pod: True

    def step(self) -> None:
        """Let every controller act once."""
        for job in self._api.of_kind("Job"):
            self._run(job)
        for deployment in self._api.of_kind("Deployment"):
            self._scale(deployment)

    def _pods(self, owner: Json) -> Iterator[Json]:
        for pod in self._api.of_kind("Pod"):
            if pod["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]:
                yield pod

    def _start(self, owner: Json) -> str:
        template, metadata = owner["spec"]["template"], owner["metadata"]
        number = next(self._numbers)
        reference = {"uid": metadata["uid"], "kind": owner["kind"], "name": metadata["name"], "controller": True}
        names = {"name": f"{metadata['name']}-{number}", "namespace": metadata["namespace"]}
        labels = copy.deepcopy(template["metadata"])
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**labels, **names, "ownerReferences": [reference]}}
        status = {"phase": "Running", "podIP": f"10.0.0.{number}", "containerStatuses": []}
        self._api.create_as_controller(pod | {"spec": copy.deepcopy(template["spec"]), "status": status})
        return names["name"]

    def _run(self, job: Json) -> None:
        if job.get("status", {}).get("conditions"):
            if job["spec"].get("ttlSecondsAfterFinished") == 0:
                self._api.remove(Key("Job", job["metadata"]["namespace"], job["metadata"]["name"]))
            return
        if job["spec"].get("suspend"):
            return
        pods = list(self._pods(job))
        if not pods:
            self.started.append(self._start(job))
            return
        pod = pods[-1]
        age = self._clock.now() - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
        [container] = [item["name"] for item in job["spec"]["template"]["spec"]["containers"]]
        if age.total_seconds() < self.training_seconds:
            self._set_container(pod, container, {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}})
            return
        config = self._api.objects[Key("ConfigMap", job["metadata"]["namespace"], job["metadata"]["name"])]
        if told := config["data"].get("collection.json"):
            code, message = 0, self.collect(json.loads(told))
        else:
            code, message = self.train(json.loads(config["data"]["run.json"]))
        ended = {"exitCode": code, "message": message, "reason": "Completed" if code == 0 else "Error"}
        self._set_container(pod, container, {"terminated": ended}, "Succeeded" if code == 0 else "Failed")
        kind = "Complete" if code == 0 else "Failed"
        stamp = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"type": kind, "status": "True", "reason": "", "lastTransitionTime": stamp}
        self._set_status(job, {"conditions": [condition], **({"completionTime": stamp} if code == 0 else {})})

    def _scale(self, deployment: Json) -> None:
        pods = list(self._pods(deployment))
        wanted = deployment["spec"]["replicas"]
        for pod in pods[wanted:]:
            self._api.remove(Key("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"]))
        for pod in pods[:wanted]:
            if self.serves(pod):
                ready = [{"type": "Ready", "status": "True"}]
                self._set_container(pod, "server", {"running": {}}, conditions=ready)
        for _ in range(wanted - len(pods)):
            self._start(deployment)
        pods = list(self._pods(deployment))
        ready = sum(bool(pod["status"].get("conditions")) for pod in pods)
        counts = {"replicas": len(pods), "readyReplicas": ready}
        self._set_status(deployment, counts | {"observedGeneration": deployment["metadata"]["generation"]})

    def _set_container(self, pod: Json, name: str, state: Json, phase: str = "Running", **more: Any) -> None:
        container = {"name": name, "state": state, "restartCount": 0}
        self._set_status(pod, {**pod["status"], "phase": phase, "containerStatuses": [container], **more})

    def _set_status(self, body: Json, status: Json) -> None:
        key = Key(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
        self._api.change(key, lambda fresh: fresh.update(status=status))


def _parts(kind: Kind, path: str) -> tuple[str, str, str]:
    _, _, rest = path.partition("/namespaces/")
    if not rest:
        return "", "", ""
    parts = [unquote(part) for part in rest.split("/")]
    assert parts[1] == kind.plural
    return parts[0], parts[2] if len(parts) > 2 else "", parts[3] if len(parts) > 3 else ""


def _merge(live: Any, wanted: Any) -> Any:
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return copy.deepcopy(wanted)
    return {**live, **{name: _merge(live.get(name), value) for name, value in wanted.items()}}


def _without(live: Any, before: Any, wanted: Any) -> Any:
    """Remove what a manager applied before and does not apply any more."""
    if not isinstance(live, dict) or not isinstance(before, dict) or not isinstance(wanted, dict):
        return live
    kept = {name: value for name, value in live.items() if name in wanted or name not in before}
    return {name: _without(value, before.get(name), wanted.get(name)) for name, value in kept.items()}


def _content(body: Json) -> Json:
    volatile = ("resourceVersion", "generation")
    metadata = {name: value for name, value in body["metadata"].items() if name not in volatile}
    return {**body, "metadata": metadata}


def _refuse_change(before: Any, after: Any) -> None:
    if before != after:
        raise Invalid("spec.template: field is immutable")


__all__ = ["KINDS", "WRITES", "Api", "Clock", "Crash", "World"]
