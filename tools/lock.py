"""`python -m tools.lock`: resolve what each image and the development environment install, and pin all of it.

Direct dependencies are chosen in pyproject.toml; the files in requirements/ add everything they pull in, by name and
version. They are for CPython 3.11 on x86-64 Linux, which the images run.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: File in requirements/ to the extras and dependency groups it holds.
SETS: dict[str, tuple[list[str], list[str]]] = {
    "operator": (["operator"], []),
    "serving": (["server", "s3", "gcs", "hdfs"], []),
    "tensorflow": (["tensorflow"], []),
    "tensorflow-gpu": (["gpu"], []),
    "training": (["trainer", "tensorflow", "s3", "gcs", "hdfs", "data"], ["samples"]),
    "development": (
        ["operator", "server", "trainer", "tensorflow", "s3", "gcs", "hdfs", "cli", "laptop"],
        ["samples", "dev"],
    ),
}


def requirements(project: dict[str, Any], extras: list[str], groups: list[str]) -> list[str]:
    """Return the direct requirements of a set."""
    optional, grouped = project["project"]["optional-dependencies"], project["dependency-groups"]
    direct = [*project["project"]["dependencies"]]
    for name in extras:
        direct += optional[name]
    for name in groups:
        direct += grouped[name]
    return sorted(set(direct))


def resolve(direct: list[str]) -> list[str]:
    """Return `name==version` for everything that pip would install, sorted."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    report = json.loads(subprocess.run([*command, *direct], check=True, capture_output=True, text=True).stdout)
    pins = {entry["metadata"]["name"].lower(): entry["metadata"]["version"] for entry in report["install"]}
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


def main() -> None:
    """Write every file of requirements/."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folder = ROOT / "requirements"
    folder.mkdir(exist_ok=True)
    for name, (extras, groups) in SETS.items():
        pins = resolve(requirements(project, extras, groups))
        head = "# Written by `make lock` from pyproject.toml.\n"
        (folder / f"{name}.txt").write_text(head + "\n".join(pins) + "\n")
        print(f"requirements/{name}.txt: {len(pins)} packages")


if __name__ == "__main__":
    main()
