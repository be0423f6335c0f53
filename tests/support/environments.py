"""Environments of their own for other people's programs, made once a machine below the cache."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CACHE", "KSERVE", "environment"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelyard" / "test-tools"

#: What KServe's client and server are installed from.
KSERVE = ("kserve==0.21.0",)


def environment(name: str, requirements: Sequence[str], *, python: str = sys.executable, whole: bool = False) -> Path:
    """Return the Python of an environment that has these pinned packages; made if there is none.

    `python` makes it; with `whole` the list is complete, and nothing else is installed. Raises
    subprocess.CalledProcessError, whose `stderr` says why something could not be installed.
    """
    text = "\n".join([python, *requirements])
    folder = CACHE / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    found = folder / "bin/python"
    if (folder / ".installed").exists():
        return found
    print(f"  installing {name}", flush=True)
    _run([python, "-m", "venv", "--clear", str(folder)])
    install = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, *(["--no-deps"] if whole else []), *requirements])
    (folder / ".installed").touch()
    return found


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
