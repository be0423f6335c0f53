"""From a bare laptop to a first local run: the README's lines in an empty folder, each one timed.

`--cached` lets pip use its cache of downloads; without it every package is fetched.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADING = "## On a laptop"
_MARK = "timed:"


def lines_of(readme: str) -> list[str]:
    """Return the commands of the first console block below the heading."""
    found = re.search(rf"^{HEADING}$.*?^```console\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"README.md has no console block below {HEADING!r}")
    return [line.removeprefix("$ ") for line in found.group(1).splitlines() if line.startswith("$ ")]


def main() -> int:
    """Run the lines one after the other in one shell; print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cached", action="store_true", help="with pip's cache")
    cached = parser.parse_args().cached
    lines = lines_of((ROOT / "README.md").read_text())
    script = "set -e\n" + "".join(f"{line}\necho; echo {_MARK}\n" for line in lines)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"REPOSITORY": str(ROOT), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if not cached:
        environment["PIP_NO_CACHE_DIR"] = "1"
    taken: list[float] = []
    with tempfile.TemporaryDirectory(prefix="modelyard-laptop-") as folder:
        command = ["bash", "-c", script]
        before = time.monotonic()
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, cwd=folder, env=environment, **options) as process:
            for line in process.stdout or ():
                if line.strip() == _MARK:
                    taken.append(time.monotonic() - before)
                    before = time.monotonic()
                elif line.strip():
                    print(f"    {line.rstrip()}", flush=True)
        if process.returncode:
            print(f"failed: {lines[len(taken)]}", file=sys.stderr)
            return 1
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file() and not file.is_symlink())
    for line, seconds in zip(lines, taken, strict=True):
        print(f"{seconds:7.1f} s  {line}")
    print(f"{sum(taken):7.1f} s  in all, {'with' if cached else 'without'} pip's cache; {size / 1e9:.1f} GB on disk")
    return 0


if __name__ == "__main__":
    sys.exit(main())
