"""Requests to the API server on plain JSON objects.

KubeError
├── NotFound       it is not there
├── Conflict       somebody was faster: look again at once
├── Invalid        the object is refused: a repeat does not help
├── Forbidden      the operator's role lacks a verb
├── Throttled      the server asks to wait
└── Unreachable    no answer, or a fault of the server
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from kubernetes.aio import client, config

__all__ = [
    "KINDS",
    "Conflict",
    "Forbidden",
    "Invalid",
    "Kind",
    "KubeApi",
    "KubeError",
    "NotFound",
    "Throttled",
    "Unreachable",
]

Json = dict[str, Any]
FIELD_MANAGER = "modelyard-operator"
_SECONDS = 30
_CHUNK = 500


class KubeError(Exception):
    """A request failed; `retry_after` is the least delay in seconds that the server asks for."""

    retry_after = 0.0


class NotFound(KubeError):
    """It is not there."""


class Conflict(KubeError):
    """Somebody was faster."""


class Invalid(KubeError):
    """The API server refuses the object."""


class Forbidden(KubeError):
    """The operator may not do this."""


class Throttled(KubeError):
    """The API server asks to wait."""


class Unreachable(KubeError):
    """No answer, or a fault of the server."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a kind is served."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of a collection or an object."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(filter(None, [f"{root}{scope}/{self.plural}", name, subresource]))


KINDS = {
    kind.kind: kind
    for kind in (
        Kind("modelyard.dev/v1alpha1", "ModelTraining", "modeltrainings"),
        Kind("modelyard.dev/v1alpha1", "ModelCheckpoint", "modelcheckpoints"),
        Kind("modelyard.dev/v1alpha1", "ModelServing", "modelservings"),
        Kind("batch/v1", "Job", "jobs"),
        Kind("apps/v1", "Deployment", "deployments"),
        Kind("v1", "Pod", "pods"),
        Kind("v1", "Service", "services"),
        Kind("v1", "ConfigMap", "configmaps"),
        Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        Kind("v1", "Event", "events"),
        Kind("coordination.k8s.io/v1", "Lease", "leases"),
    )
}
_ERRORS: dict[int, type[KubeError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Conflict,
    422: Invalid,
    429: Throttled,
}


class KubeApi:
    """The API server, through the asyncio client of the `kubernetes` package."""

    def __init__(self, configuration: client.Configuration, count: Callable[[str, str, int], None]) -> None:
        configuration.connection_pool_maxsize = 32
        self.configuration = configuration
        self._client = client.ApiClient(configuration)
        self._count = count
        self._slots = asyncio.Semaphore(24)

    @classmethod
    async def connect(cls, count: Callable[[str, str, int], None], kubeconfig: str | None = None) -> "KubeApi":
        """Connect as the pod's service account, or with a kubeconfig."""
        configuration = client.Configuration()
        if kubeconfig:
            await config.load_kube_config(kubeconfig, client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        return cls(configuration, count)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        """Return an object."""
        return await self.request("GET", kind, kind.path(namespace, name))

    async def list(self, kind: Kind, namespace: str | None, selector: str = "") -> AsyncIterator[Json]:
        """Yield every object, read in chunks."""
        token = ""
        while True:
            query = {"limit": _CHUNK, "labelSelector": selector, "continue": token}
            page = await self.request("GET", kind, kind.path(namespace), query=query)
            for item in page["items"]:
                yield {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def apply(self, manifest: Mapping[str, Any], subresource: str = "", manager: str = FIELD_MANAGER) -> Json:
        """Apply the whole intent for an object; fields of ours that it leaves out are removed."""
        kind, metadata = KINDS[manifest["kind"]], manifest["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"], subresource)
        query = {"fieldManager": manager, "force": "true"}
        return await self.request("PATCH", kind, path, manifest, query, content="application/apply-patch+yaml")

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete exactly this object, and what it owns in the background."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self.request("DELETE", kind, kind.path(namespace, name), options)

    async def create(self, manifest: Mapping[str, Any]) -> Json:
        """Create an object; Conflict if it is there."""
        kind = KINDS[manifest["kind"]]
        return await self.request("POST", kind, kind.path(manifest["metadata"]["namespace"]), manifest)

    async def replace(self, manifest: Mapping[str, Any]) -> Json:
        """Replace an object if its resourceVersion is still this one."""
        kind, metadata = KINDS[manifest["kind"]], manifest["metadata"]
        return await self.request("PUT", kind, kind.path(metadata["namespace"], metadata["name"]), manifest)

    async def request(
        self,
        method: str,
        kind: Kind,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        *,
        content: str = "application/json",
    ) -> Json:
        """Send one request; raise KubeError."""
        headers = {"Accept": "application/json", "Content-Type": content, "User-Agent": FIELD_MANAGER}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        words = urlencode({name: value for name, value in (query or {}).items() if value != ""})
        url = f"{self.configuration.host}{path}" + (f"?{words}" if words else "")
        status = 0
        try:
            async with self._slots:
                response = await self._client.rest_client.request(
                    method, url, headers=headers, body=body, _request_timeout=_SECONDS
                )
                status = response.status
                text = await response.read()
        except client.ApiException as error:
            status = error.status or 0
            text = (error.body or "").encode() if isinstance(error.body, str) else error.body or b""
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"{method} {path}: {type(error).__name__} {error}") from error
        finally:
            self._count(method, kind.plural, status)
        document: Json = json.loads(text) if text[:1] == b"{" else {}
        if 200 <= status < 300:
            return document
        failure = _ERRORS.get(status, Unreachable)(document.get("message") or f"{method} {path} answered {status}")
        failure.retry_after = float((document.get("details") or {}).get("retryAfterSeconds", 0))
        raise failure
