"""What a serving process is told, from its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from modelyard.contract.options import ServingOptions
from modelyard.contract.wire import GRPC_PORT, HTTP_PORT, STATUS_PORT, Environment

__all__ = ["ServerSettings"]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything a server needs to know."""

    name: str
    uri: str
    version: str = ""
    digest: str | None = None
    http_port: int = HTTP_PORT
    grpc_port: int = GRPC_PORT
    status_port: int = STATUS_PORT
    drain_seconds: float = 5.0
    """How long requests are accepted after SIGTERM."""
    termination_log: str = "/dev/termination-log"
    options: ServingOptions = field(default_factory=ServingOptions)
    api_keys: Path | None = None
    """Folder with one API key a file; None: everybody may ask."""
    tls: Path | None = None
    """Folder with `tls.crt` and `tls.key`; None: plain HTTP."""
    verification: Path | None = None
    """Public keys, one of which must have signed the package; None: its digest is enough."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ServerSettings":
        """Read the variables of the contract; raise ValueError that names the variable."""

        def need(name: str) -> str:
            if not environment.get(name):
                raise ValueError(f"{name} is not set")
            return environment[name]

        def folder(name: str) -> Path | None:
            return Path(environment[name]) if environment.get(name) else None

        drain = environment.get(Environment.DRAIN_SECONDS) or "5"
        try:
            drain_seconds = float(drain)
        except ValueError as error:
            raise ValueError(f"{Environment.DRAIN_SECONDS} is {drain!r}: a number of seconds is expected") from error
        return cls(
            name=need(Environment.MODEL_NAME),
            uri=need(Environment.PACKAGE_URI),
            version=environment.get(Environment.MODEL_VERSION, ""),
            digest=environment.get(Environment.PACKAGE_DIGEST) or None,
            drain_seconds=drain_seconds,
            termination_log=environment.get(Environment.TERMINATION_LOG) or "/dev/termination-log",
            options=_options(environment.get(Environment.OPTIONS) or "{}"),
            api_keys=folder(Environment.API_KEYS),
            tls=folder(Environment.TLS),
            verification=folder(Environment.VERIFICATION),
        )


def _options(text: str) -> ServingOptions:
    try:
        return ServingOptions.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{Environment.OPTIONS}: {where}: {first['msg']}") from error
