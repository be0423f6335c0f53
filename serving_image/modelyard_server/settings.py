"""What a serving process is told, from its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.contract.wire import HTTP_PORT, STATUS_PORT, Environment

__all__ = ["ServerSettings"]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything a server needs to know."""

    name: str
    uri: str
    version: str = ""
    digest: str | None = None
    http_port: int = HTTP_PORT
    status_port: int = STATUS_PORT
    drain_seconds: float = 5.0
    """How long requests are accepted after SIGTERM."""
    termination_log: str = "/dev/termination-log"
    largest_body: int = 8 << 20
    """Bytes."""
    most_instances: int = 4096
    """Instances of one request."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ServerSettings":
        """Read the variables of the contract; raise ValueError that names the variable."""

        def need(name: str) -> str:
            if not environment.get(name):
                raise ValueError(f"{name} is not set")
            return environment[name]

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
        )
