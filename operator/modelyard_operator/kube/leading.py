"""Leadership: a Lease that one operator holds and renews. Correctness never rests on it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from modelyard_operator.kube.client import KINDS, Conflict, Json, KubeApi, KubeError, NotFound

__all__ = ["Leadership"]

DURATION = 15.0
RENEWAL = 5.0
RETRY = 2.0
_LOG = logging.getLogger(__name__)


class Leadership:
    """One candidate for the Lease."""

    def __init__(self, api: KubeApi, namespace: str, identity: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._namespace = namespace
        self._identity = identity
        self._now = now
        self._seen: tuple[str, datetime] = ("", now())
        self._answered = now()
        self.is_leader = False

    @property
    def age(self) -> float:
        """Seconds since the API server last answered about the Lease."""
        return (self._now() - self._answered).total_seconds()

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        while True:
            try:
                if await self._try():
                    break
            except KubeError as error:
                _LOG.warning("lease not read", extra={"error": str(error)})
            await asyncio.sleep(RETRY)
        self.is_leader = True

    async def keep(self) -> None:
        """Renew for ever; return when the Lease is lost."""
        while self.age < DURATION:
            await asyncio.sleep(RENEWAL)
            try:
                if not await self._try():
                    break
            except KubeError as error:
                _LOG.warning("lease not renewed", extra={"error": str(error)})
        self.is_leader = False

    async def release(self) -> None:
        """Give the Lease up, so that the standby takes over at once."""
        if not self.is_leader:
            return
        self.is_leader = False
        try:
            lease = await self._read()
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._api.replace(lease)
        except KubeError:
            return

    async def _read(self) -> Json:
        return await self._api.get(KINDS["Lease"], self._namespace, "modelyard-operator")

    async def _try(self) -> bool:
        done = await self._ask()
        self._answered = self._now()
        return done

    async def _ask(self) -> bool:
        now = self._now()
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION),
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        metadata = {"name": "modelyard-operator", "namespace": self._namespace}
        try:
            lease = await self._read()
        except NotFound:
            lease = None
        try:
            if lease is None:
                manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
                await self._api.create(manifest)
                return True
            if not self._may_take(lease, now):
                return False
            await self._api.replace({**lease, "spec": {**lease["spec"], **spec}})
            return True
        except Conflict:
            return False

    def _may_take(self, lease: Json, now: datetime) -> bool:
        """A Lease may be taken when it is ours, free, or unchanged for its duration by our own clock."""
        holder = lease["spec"].get("holderIdentity", "")
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, now)
        expired = now - self._seen[1] > timedelta(seconds=DURATION)
        return holder in ("", self._identity) or expired
