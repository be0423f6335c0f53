"""Reading pods: is it ready, how did it end, and what keeps it from running, told with the field that mends it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from modelyard_operator.conditions import clip
from modelyard_operator.outcome import Manifest

__all__ = [
    "SCHEDULING_GRACE",
    "Fields",
    "Trouble",
    "container_status",
    "created_at",
    "find_trouble",
    "is_leaving",
    "is_ready",
    "last_termination",
    "parse_time",
]

#: How long a pod may look for a node before a person is asked to act: an autoscaler may be bringing one.
SCHEDULING_GRACE = timedelta(minutes=5)

_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CONFIGURATION_REASONS = frozenset({"CreateContainerConfigError"})
_START_REASONS = frozenset({"CreateContainerError", "RunContainerError", "StartError"})


@dataclass(frozen=True, slots=True)
class Fields:
    """The names of the spec fields that mend each kind of trouble."""

    image: str = "spec.image"
    claims: str = "spec.output.uri and spec.data"
    command: str = "spec.command"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a pod from running."""

    reason: str
    """Kubernetes' own word."""
    message: str
    """Names the field and the fix."""
    stuck: bool
    """Whether a person must act."""
    until: datetime | None = None
    """When it becomes stuck, if nothing else happens."""


def container_status(pod: Manifest, container: str) -> Mapping[str, Any]:
    """Return the status of one container; empty before the kubelet has reported."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return next((status for status in statuses if status.get("name") == container), {})


def is_leaving(pod: Manifest) -> bool:
    """Return whether a pod is being deleted or has ended."""
    ended = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    return bool(pod["metadata"].get("deletionTimestamp")) or ended


def is_ready(pod: Manifest) -> bool:
    """Return whether a pod gets traffic."""
    return not is_leaving(pod) and _condition(pod, "Ready").get("status") == "True"


def created_at(manifest: Manifest) -> datetime | None:
    """Return when an object was created."""
    return parse_time(manifest["metadata"].get("creationTimestamp"))


def parse_time(text: Any) -> datetime | None:
    """Return an RFC 3339 time, or None."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None


def last_termination(pod: Manifest, container: str) -> Mapping[str, Any] | None:
    """Return how the container ended last, if it ever did."""
    status = container_status(pod, container)
    ended = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated")
    return ended if isinstance(ended, Mapping) else None


def find_trouble(pod: Manifest, container: str, fields: Fields, now: datetime) -> Trouble | None:
    """Return what keeps a pod from running, or None if it runs, is starting, or is leaving."""
    if is_leaving(pod):
        return None
    waiting = container_status(pod, container).get("state", {}).get("waiting") or {}
    return _scheduling(pod, fields, now) or _waiting(pod, container, waiting, fields)


def _scheduling(pod: Manifest, fields: Fields, now: datetime) -> Trouble | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") != "False":
        return None
    message = str(scheduled.get("message", ""))
    if found := re.search(r'persistentvolumeclaim "([^"]+)" not found', message):
        text = f"{fields.claims}: there is no PersistentVolumeClaim {found[1]} in this namespace: create it"
        return Trouble("Unschedulable", text, stuck=True)
    since = parse_time(scheduled.get("lastTransitionTime")) or created_at(pod) or now
    until = since + SCHEDULING_GRACE
    text = f"no node takes the pod ({message}): see spec.resources, spec.nodeSelector and spec.tolerations"
    return Trouble("Unschedulable", clip(text, 1024), stuck=now >= until, until=until)


def _waiting(pod: Manifest, container: str, waiting: Mapping[str, Any], fields: Fields) -> Trouble | None:
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in _IMAGE_REASONS:
        image = _image(pod, container)
        return Trouble(reason, clip(f"{fields.image}: the image {image} cannot be pulled: {message}", 1024), stuck=True)
    if reason in _CONFIGURATION_REASONS:
        return Trouble(reason, clip(f"{_missing(message)}: {message}", 1024), stuck=True)
    if reason in _START_REASONS:
        text = f"{fields.command}: the container cannot be started: {message}"
        return Trouble(reason, clip(text, 1024), stuck=True)
    restarts = int(container_status(pod, container).get("restartCount") or 0)
    if reason == "CrashLoopBackOff" or (restarts and not is_ready(pod)):
        # Between two attempts a crashing container runs; its last words are still the reason. One crash may heal.
        return Trouble("CrashLoopBackOff", _crash(pod, container), stuck=bool(reason) or restarts > 1)
    return None


def _missing(message: str) -> str:
    """Return the field that names what a container configuration lacks."""
    found = re.search(r'secret "([^"]+)" not found', message)
    return f"spec.storage.secretNames: create the Secret {found[1]}" if found else "spec.storage"


def _crash(pod: Manifest, container: str) -> str:
    ended = last_termination(pod, container) or {}
    told = str(ended.get("message") or "").strip()
    if told:
        return clip(told, 1024)
    reason, code = ended.get("reason", "Error"), ended.get("exitCode", "unknown")
    hint = ": raise spec.resources.limits.memory" if reason == "OOMKilled" else ""
    return f"the container ends with {reason} (exit code {code}){hint}"


def _image(pod: Manifest, container: str) -> str:
    containers = pod.get("spec", {}).get("containers") or []
    return next((str(item.get("image")) for item in containers if item.get("name") == container), "of the pod")


def _condition(pod: Manifest, kind: str) -> Mapping[str, Any]:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), {})
