"""What the operator knows of the cluster: projected objects, and the indices that views are gathered by.

Watching puts single changes in; resync replaces a whole kind, which repairs what a watch missed. Only one event loop
touches a store, so nothing here waits or locks.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from modelyard.contract.wire import Label

__all__ = ["PARENTS", "Key", "Store", "key_of", "project"]

Json = dict[str, Any]

#: The kinds that passes are made for.
PARENTS = ("ModelTraining", "ModelCheckpoint", "ModelServing")

_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
)
_POD_STATUS = ("phase", "reason", "message", "podIP", "conditions", "containerStatuses", "initContainerStatuses")


class Key(NamedTuple):
    """An object's identity."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `namespace/name`."""
        return f"{self.namespace}/{self.name}"


class Store:
    """Objects by key, and by the parents that they say something about."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Json]] = defaultdict(dict)
        self._related: dict[tuple[str, Key], set[Key]] = defaultdict(set)

    def get(self, key: Key) -> Json | None:
        """Return an object."""
        return self._objects[key.kind].get(key)

    def keys(self, kind: str) -> list[Key]:
        """Return the keys of a kind."""
        return list(self._objects[kind])

    def objects(self, kind: str) -> list[Json]:
        """Return the objects of a kind."""
        return list(self._objects[kind].values())

    def related(self, kind: str, parent: Key) -> list[Json]:
        """Return the objects of a kind that say something about a parent, oldest first."""
        known = self._objects[kind]
        found = [known[key] for key in self._related.get((kind, parent), ())]
        return sorted(found, key=lambda item: (item["metadata"].get("creationTimestamp", ""), item["metadata"]["name"]))

    def put(self, body: Mapping[str, Any]) -> tuple[Json | None, Json]:
        """Keep an object; return (what was known, what is known now): the same object if the state is not newer."""
        key = key_of(body)
        before = self._objects[key.kind].get(key)
        if before is not None and not _is_newer(body, before):
            return before, before
        after = project(body)
        if before is not None:
            self._unlink(key, before)
        self._objects[key.kind][key] = after
        for parent in parents_of(after):
            self._related[(key.kind, parent)].add(key)
        return before, after

    def remove(self, key: Key) -> Json | None:
        """Forget an object; return what was known."""
        before = self._objects[key.kind].pop(key, None)
        if before is not None:
            self._unlink(key, before)
        return before

    def replace(self, kind: str, bodies: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Json | None, Json | None]]:
        """Make a kind what a complete list says; yield (before, after) of everything that differs."""
        fresh = {key_of(body): body for body in bodies}
        for key in [key for key in self._objects[kind] if key not in fresh]:
            yield self.remove(key), None
        for body in fresh.values():
            before, after = self.put(body)
            if before is not after:
                yield before, after

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    def _unlink(self, key: Key, before: Json) -> None:
        for parent in parents_of(before):
            others = self._related[(key.kind, parent)]
            others.discard(key)
            if not others:
                del self._related[(key.kind, parent)]


def key_of(body: Mapping[str, Any]) -> Key:
    """Return an object's key."""
    return Key(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"])


def project(body: Mapping[str, Any]) -> Json:
    """Return the part of an object that passes look at."""
    kept: Json = {"apiVersion": body["apiVersion"], "kind": body["kind"]}
    kept["metadata"] = {name: body["metadata"][name] for name in _METADATA if name in body["metadata"]}
    if body["kind"] == "Pod":
        containers = [{"name": item["name"], "image": item.get("image", "")} for item in body["spec"]["containers"]]
        kept["spec"] = {"containers": containers}
        status = body.get("status", {})
        kept["status"] = {name: status[name] for name in _POD_STATUS if name in status}
        return kept
    if body["kind"] == "ConfigMap":
        # a run's document is written once; what it says is never asked again
        return kept
    return kept | {name: body[name] for name in ("spec", "status") if name in body}


def parents_of(body: Mapping[str, Any]) -> list[Key]:
    """Return the parents that an object says something about."""
    metadata, kind = body["metadata"], body["kind"]
    namespace = metadata.get("namespace", "")
    if kind == "ModelCheckpoint":
        training = body.get("spec", {}).get("training")
        return [Key("ModelTraining", namespace, training)] if training else []
    if kind == "ModelServing":
        model = body.get("spec", {}).get("model", {})
        pairs = (("ModelTraining", model.get("training")), ("ModelCheckpoint", model.get("checkpoint")))
        followed = [Key(parent, namespace, name) for parent, name in pairs if name]
        return followed + [Key("ModelCheckpoint", namespace, name) for name in _served(body) if name]
    labels = metadata.get("labels", {})
    named = (("ModelTraining", labels.get(Label.TRAINING)), ("ModelServing", labels.get(Label.SERVING)))
    return [Key(parent, namespace, name) for parent, name in named if name]


def _served(serving: Mapping[str, Any]) -> list[str]:
    status = serving.get("status", {})
    roles = (status.get("stable") or {}, status.get("candidate") or {})
    return [role.get("checkpoint", "") for role in roles]


def _is_newer(body: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    fresh, old = (item["metadata"].get("resourceVersion", "") for item in (body, known))
    return int(fresh) > int(old) if fresh.isdigit() and old.isdigit() else fresh != old
