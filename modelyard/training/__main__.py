"""`python -m modelyard.training check SCRIPT [--manifest FILE]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard.training.checking import check


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the cluster would refuse; return 1 if there is anything."""
    parser = argparse.ArgumentParser(prog="modelyard.training", description="Tools for training scripts.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("check", help="tell what the cluster would refuse, without training")
    command.add_argument("script", type=Path, help="the training script")
    command.add_argument("--manifest", type=Path, help="YAML file with its ModelTraining")
    options = parser.parse_args(arguments)
    try:
        found = check(options.script, options.manifest)
    except OSError as error:
        parser.error(str(error))
    for finding in found:
        print(finding)
    errors = sum(finding.refused for finding in found)
    print(f"{errors} errors, {len(found) - errors} notes" if found else "nothing found")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
