"""Settings: what the operator is told by its environment, and what kopf is told by us."""

import dataclasses
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from modelyard_operator.outcome import OperatorDefaults

__all__ = ["Settings", "SettingsError", "kopf_settings", "log_in"]

#: A service account's token is read anew this often; the kubelet replaces it well before it ends.
_TOKEN_AGE = timedelta(minutes=10)


class SettingsError(Exception):
    """A variable of the environment is missing or wrong."""


@dataclass(frozen=True, slots=True)
class Settings:
    """It is configured by environment variables.

    MODELYARD_TRAINING_IMAGE   image of trainings that name none (required)
    MODELYARD_SERVING_IMAGE    image of servings that name none (required)
    MODELYARD_SERVING_TENSORFLOW_IMAGE   the same for models that LiteRT cannot hold (required)
    MODELYARD_NAMESPACES       namespaces to work in, separated by commas (default: all)
    MODELYARD_LEASE_NAMESPACE  namespace of the leader's Lease (default: modelyard-system)
    MODELYARD_IDENTITY         name of this replica in the Lease (default: the host name)
    MODELYARD_PORT             port of /healthz, /readyz and /metrics (default: 8080)
    MODELYARD_LOG_LEVEL        DEBUG, INFO, WARNING or ERROR (default: INFO)
    MODELYARD_LOG_FORMAT       json or text (default: json)
    KUBECONFIG                 outside a cluster: the kubeconfig to use
    """

    defaults: OperatorDefaults
    namespaces: tuple[str, ...]
    lease_namespace: str
    identity: str
    port: int
    log_level: str
    log_format: str
    kubeconfig: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the environment; raise SettingsError."""
        required = ("MODELYARD_TRAINING_IMAGE", "MODELYARD_SERVING_IMAGE", "MODELYARD_SERVING_TENSORFLOW_IMAGE")
        if missing := [name for name in required if not environment.get(name)]:
            raise SettingsError(f"{missing[0]} is not set: the image that manifests without an image use")
        port = environment.get("MODELYARD_PORT", "8080")
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise SettingsError(f"MODELYARD_PORT={port} is not a port")
        level = environment.get("MODELYARD_LOG_LEVEL", "INFO").upper()
        if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"MODELYARD_LOG_LEVEL={level}: one of DEBUG, INFO, WARNING, ERROR")
        form = environment.get("MODELYARD_LOG_FORMAT", "json")
        if form not in ("json", "text"):
            raise SettingsError(f"MODELYARD_LOG_FORMAT={form}: json or text")
        names = (name.strip() for name in environment.get("MODELYARD_NAMESPACES", "").split(","))
        in_cluster = "KUBERNETES_SERVICE_HOST" in environment
        return cls(
            defaults=OperatorDefaults(*(environment[name] for name in required)),
            namespaces=tuple(name for name in names if name),
            lease_namespace=environment.get("MODELYARD_LEASE_NAMESPACE", "modelyard-system"),
            identity=environment.get("MODELYARD_IDENTITY") or socket.gethostname(),
            port=int(port),
            log_level=level,
            log_format=form,
            kubeconfig=None if in_cluster else environment.get("KUBECONFIG", os.path.expanduser("~/.kube/config")),
        )


async def log_in(**context: Any) -> kopf.ConnectionInfo | None:
    """Tell kopf how to reach the API server."""
    info = kopf.login_with_service_account(**context)
    if info is None:
        return kopf.login_with_kubeconfig(**context)
    return dataclasses.replace(info, expiration=datetime.now(UTC) + _TOKEN_AGE)


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: a watcher for thousands of objects that writes nothing itself."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.execution.max_workers = 2
    settings.persistence.finalizer = "modelyard.dev/unused"
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 360
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = [1, 1, 2, 3, 5, 8, 13, 21]
    settings.queueing.idle_timeout = 1
    settings.queueing.worker_limit = None
    settings.process.ultimate_exiting_timeout = 20
    return settings
