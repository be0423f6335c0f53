"""`python -m modelyard_trainer`: run what the run document says, serving `/progress` meanwhile."""

import argparse
import asyncio
import os
import sys

from modelyard_trainer.preparing import attempt_of


def main() -> int:
    """Run one attempt; return the exit code that tells the Job how it ended."""
    parser = argparse.ArgumentParser(
        prog="modelyard_trainer",
        description="Run a training as its run document (MODELYARD_RUN) says; serves /progress, /metrics and /healthz.",
    )
    parser.add_argument("--port", type=int, default=None, help="status port (default: the contract's, 8081)")
    arguments = parser.parse_args()
    return asyncio.run(attempt_of(os.environ).run(arguments.port))


if __name__ == "__main__":
    sys.exit(main())
