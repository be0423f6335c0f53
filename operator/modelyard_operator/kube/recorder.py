"""Events about the custom resources: deduplicated, and never the reason that a pass fails."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from modelyard_operator.kube.client import KubeApi, KubeError
from modelyard_operator.outcome import Event
from modelyard_operator.pods import fingerprint

__all__ = ["Recorder"]

_SAME_WITHIN = 120.0
_REMEMBERED = 4096
_LOG = logging.getLogger(__name__)


class Recorder:
    """Posts events; the same words about the same object are posted once in two minutes."""

    def __init__(self, api: KubeApi, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now
        self._posted: dict[str, datetime] = {}

    async def post(self, about: dict[str, Any], event: Event) -> None:
        """Post one event about an object."""
        now, metadata = self._now(), about["metadata"]
        key = fingerprint([metadata["uid"], event.type, event.reason, event.message], 12)
        last = self._posted.get(key)
        if last is not None and (now - last).total_seconds() < _SAME_WITHIN:
            return
        if len(self._posted) >= _REMEMBERED:
            self._posted.pop(next(iter(self._posted)))
        self._posted[key] = now
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        reference = {"apiVersion": about["apiVersion"], "kind": about["kind"], "name": metadata["name"]}
        reference |= {"namespace": metadata["namespace"], "uid": metadata["uid"]}
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name'][:200]}.{key}{int(now.timestamp()):x}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": reference,
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:1024],
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "source": {"component": "modelyard-operator"},
        }
        try:
            await self._api.create(manifest)
        except KubeError as error:
            _LOG.warning("event not posted", extra={"reason": event.reason, "error": str(error)})
