"""The base images of a machine without a registry: Debian and Python by debootstrap, without what nobody needs."""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from modelyard_local.archives import write_archive

__all__ = ["BASE", "BUILDER", "base_archives"]

BASE = "localhost/modelyard-base"
BUILDER = "localhost/modelyard-builder"
RELEASE = "bookworm"
#: Raise it when the recipe below changes.
RECIPE = 4
PACKAGES = {BASE: ("python3", "ca-certificates"), BUILDER: ("python3", "ca-certificates", "binutils")}
#: Emptied: documentation, package lists, logs, and whatever names where packages came from.
EMPTIED = (
    "dev",
    "etc/apt",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/apt/lists",
    "var/log",
)
#: Not needed by a Python service, and large: character set conversions, Perl, the package manager with its libraries,
#: tools for file systems. Patterns of paths.
REMOVED = (
    "usr/bin/apt*",
    "usr/bin/gpgv",
    "usr/bin/openssl",
    "usr/bin/perl",
    "usr/bin/perl5.36.0",
    "usr/lib/apt",
    "usr/lib/python3.11/ensurepip",
    "usr/lib/python3.11/lib2to3",
    "usr/lib/python3.11/pydoc_data",
    "usr/lib/python3.11/test",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/libapt-p*",
    "usr/lib/x86_64-linux-gnu/libe2p.*",
    "usr/lib/x86_64-linux-gnu/libext2fs.*",
    "usr/lib/x86_64-linux-gnu/libgnutls.*",
    "usr/lib/x86_64-linux-gnu/libhogweed.*",
    "usr/lib/x86_64-linux-gnu/libidn2.*",
    "usr/lib/x86_64-linux-gnu/libnettle.*",
    "usr/lib/x86_64-linux-gnu/libp11-kit.*",
    "usr/lib/x86_64-linux-gnu/libtasn1.*",
    "usr/lib/x86_64-linux-gnu/libunistring.*",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/sbin/debugfs",
    "usr/sbin/dumpe2fs",
    "usr/sbin/e2*",
    "usr/sbin/e4*",
    "usr/sbin/fsck*",
    "usr/sbin/mke2fs",
    "usr/sbin/mkfs*",
    "usr/sbin/resize2fs",
    "usr/sbin/tune2fs",
    "usr/share/bash-completion",
    "usr/share/lintian",
    "usr/share/perl5",
    "usr/share/zoneinfo/posix",
    "usr/share/zoneinfo/right",
    "var/lib/dpkg/info",
)


def base_archives(cache: Path) -> list[Path]:
    """Return the archives of the base and of the builder image, making them on first use."""
    return [_archive(cache, name) for name in (BASE, BUILDER)]


def _archive(cache: Path, name: str) -> Path:
    archive = cache / "images" / f"{name.rsplit('/', 1)[-1]}-{RELEASE}-{RECIPE}.tar"
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="rootfs-", dir=cache))
    try:
        root = folder / "root"
        include = ",".join(PACKAGES[name])
        command = ["debootstrap", "--variant=minbase", f"--include={include}", RELEASE, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if name == BASE:
            _remove(root)
        layer = folder / "layer.tar"
        _pack(root, layer)
        write_archive(archive, f"{name}:{RELEASE}", layer, ["python3"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return archive


def _remove(root: Path) -> None:
    for path in [path for pattern in REMOVED for path in root.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _pack(root: Path, layer: Path) -> None:
    emptied = tuple(f"./{folder}/" for folder in EMPTIED)

    def keep(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if entry.name.startswith(emptied) else entry

    with tarfile.open(layer, "w") as tar:
        tar.add(root, ".", filter=keep)
