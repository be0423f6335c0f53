"""Building the cluster's binaries from pinned Go modules, once for each content of `local/go`."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard_local.settings import FOLDER, KUBERNETES

__all__ = ["COMPONENTS", "BuildError", "binaries", "build", "is_built", "source_hash"]

SOURCES = FOLDER / "go"
#: Names under which hyperkube is called.
COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "metrics-server",
    "netpol",
    "volumes",
)
#: No debug information and no inlining: a third of the time to compile, which matters more here than speed.
COMPILER_FLAGS = "-gcflags=all=-dwarf=false -l"


class BuildError(RuntimeError):
    """A build failed; the message ends with the compiler's last lines."""


def source_hash(folder: Path = SOURCES) -> str:
    """Return 16 hex digits over every file that the binaries are built from."""
    digest = hashlib.sha256(KUBERNETES.encode())
    for file in sorted(path for path in folder.rglob("*") if path.suffix in (".go", ".mod", ".sum", ".c")):
        if not file.name.endswith("_test.go"):
            digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def binaries(cache: Path) -> Path:
    """Return the folder that holds, or will hold, the binaries of these sources."""
    return cache / "bin" / source_hash()


def is_built(cache: Path) -> bool:
    """Say whether nothing needs to be built."""
    return (binaries(cache) / "kubectl").exists()


def build(cache: Path, tell: Callable[[str], None]) -> Path:
    """Build what is missing and return the folder of the binaries; two builds at once wait for each other."""
    with _alone(cache):
        target = binaries(cache)
        if is_built(cache):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=target.parent))
        try:
            _go_build("hyperkube", unfinished, tell)
            _go_build("coredns", unfinished, tell)
            subprocess.run(
                ["gcc", "-Os", "-static", "-s", "-o", unfinished / "pause", SOURCES / "pause" / "pause.c"], check=True
            )
            for name in COMPONENTS:
                (unfinished / name).symlink_to("hyperkube")
            unfinished.chmod(0o755)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        _forget_others(target)
        return target


def _forget_others(target: Path) -> None:
    for other in target.parent.iterdir():
        if other != target and time.time() - other.stat().st_mtime > 7 * 86_400:
            shutil.rmtree(other, ignore_errors=True)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _go_build(name: str, target: Path, tell: Callable[[str], None]) -> None:
    """Compile one main package; `-x -v` names each package as it is compiled, which is the progress."""
    version = f"k8s.io/component-base/version.gitVersion=v{KUBERNETES}"
    major, minor, _ = KUBERNETES.split(".")
    link = (
        f"-s -w -X {version} -X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}"
        f" -X k8s.io/component-base/version.gitMajor={major} -X k8s.io/component-base/version.gitMinor={minor}"
    )
    command = ["go", "build", "-v", COMPILER_FLAGS, f"-ldflags={link}", "-o", str(target / name), f"./{name}"]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false -trimpath"}
    last: list[str] = []
    packages = 0
    with subprocess.Popen(
        command, cwd=SOURCES, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = [*last[-20:], line]
            packages += not line.startswith("go: downloading")
            tell(f"{name}, {packages} packages compiled, {line.strip()[:60]}")
    if process.returncode:
        raise BuildError(f"go build ./{name} failed:\n{''.join(last)}")
