"""Runs as a cluster begins them, on folders of this machine."""

import os
from pathlib import Path

from modelyard.contract.wire import RunDocument
from modelyard.training.running import Run


def cluster_run(folder: Path, *, environment: dict[str, str] | None = None, **document: object) -> Run:
    """Begin an attempt at the run `t-1` whose output and claims lie in a folder."""
    known = {"training": "t", "namespace": "n", "run": "t-1", "output": str(folder / "output")}
    places = {"MODELYARD_PVC_ROOT": str(folder / "pvc"), "MODELYARD_CACHE": str(folder / "cache")}
    return Run(
        RunDocument(**known | document),
        attempt=os.urandom(4).hex(),
        progress=folder / "progress.json",
        environment=places | (environment or {}),
    )


def claim(folder: Path, name: str = "data") -> Path:
    """Make the folder that stands for a mounted claim."""
    path = folder / "pvc" / name
    path.mkdir(parents=True, exist_ok=True)
    return path
