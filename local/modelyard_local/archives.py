"""Container images as docker archives, written without a container engine; equal contents give equal bytes."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["write_archive", "write_single_binary"]

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_archive(archive: Path, name: str, layer: Path, command: Sequence[str]) -> None:
    """Write an image of one layer, a tar file, to `archive`; the file appears whole or not at all."""
    digest = hashlib.sha256()
    with layer.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    identity = digest.hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{identity}"]},
            # buildah refuses to build on an image whose history does not account for its layers
            "history": [{"created_by": "modelyard_local"}],
            "config": {"Env": [_PATH], "Cmd": list(command), "WorkingDir": "/"},
        }
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": [f"{identity}.tar"]}]).encode()
    partial = archive.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        _add(tar, config_name, config)
        _add(tar, "manifest.json", manifest)
        tar.add(layer, f"{identity}.tar", filter=_anonymous)
    partial.rename(archive)


def write_single_binary(archive: Path, name: str, binary: Path) -> None:
    """Write an image that holds one static binary at its root."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        tar.add(binary.resolve(), binary.name, filter=_anonymous)
    try:
        write_archive(archive, name, layer, [f"/{binary.name}"])
    finally:
        layer.unlink()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry
