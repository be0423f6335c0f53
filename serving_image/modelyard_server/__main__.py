"""`python -m modelyard_server`: serve the package that the environment names."""

import argparse
import os
import sys
from dataclasses import replace
from typing import Any

import uvloop

from modelyard.contract.wire import Environment
from modelyard_server.serving import Server
from modelyard_server.settings import ServerSettings


def main() -> int:
    """Serve until told to stop; return the exit code."""
    names = ", ".join((Environment.MODEL_NAME, Environment.PACKAGE_URI, Environment.PACKAGE_DIGEST))
    parser = argparse.ArgumentParser(
        prog="modelyard_server", description=f"Serve one model package over HTTP. Reads {names} from the environment."
    )
    parser.add_argument("--http-port", type=int, help="serving port (default: 8080)")
    parser.add_argument("--grpc-port", type=int, help="port of the Open Inference Protocol over gRPC (default: 8082)")
    parser.add_argument("--status-port", type=int, help="status port: health, readiness, metrics (default: 8081)")
    arguments = parser.parse_args()
    try:
        settings = ServerSettings.from_environment(os.environ)
    except ValueError as error:
        parser.error(str(error))
    ports = {name: value for name, value in vars(arguments).items() if value is not None}
    return uvloop.run(_run(settings, ports))


async def _run(settings: ServerSettings, ports: dict[str, Any]) -> int:
    return await Server(replace(settings, **ports)).run()


if __name__ == "__main__":
    sys.exit(main())
