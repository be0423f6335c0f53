"""`python -m modelyard_trainer`: run what the run document says, serving `/progress` meanwhile."""

import argparse
import asyncio
import os
import sys

from modelyard_trainer.attempting import Attempt


def main() -> int:
    """Run one attempt; return the exit code that tells the Job how it ended."""
    parser = argparse.ArgumentParser(
        prog="modelyard_trainer",
        description="Run a training as its run document (MODELYARD_RUN) says; serves /progress, /metrics and /healthz.",
    )
    parser.add_argument("--port", type=int, default=None, help="status port (default: the contract's, 8081)")
    arguments = parser.parse_args()
    attempt = Attempt.from_environment(os.environ)
    return asyncio.run(attempt.run(arguments.port))


if __name__ == "__main__":
    sys.exit(main())
