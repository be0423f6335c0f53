"""A real HDFS on this machine: NameNode and DataNode in one Java process, from artefacts pinned beside this file."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.environments import CACHE
from tests.support.kubectl import ROOT

_SOURCES = ROOT / "tests/support/hdfs_server"
#: Little memory, no threads for collecting garbage or compiling: the machine belongs to the tests.
_JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_START_DEADLINE = 90.0


@dataclass
class HdfsServer:
    """A server that can be stopped and started again; what it stores stays."""

    folder: Path
    address: str
    prefix: Sequence[str] = ()
    properties: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def uri(self) -> str:
        return f"hdfs://{self.address}"

    def start(self) -> None:
        """Start and wait until both nodes serve: some five seconds."""
        built, log = build_server(), self.folder / "log"
        host, port = self.address.split(":")
        command = [*self.prefix, "java", *_JAVA, "-cp", f"{built}/*:{built}", "HdfsServer"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, str(self.folder / "hdfs"), host, port, *self.properties],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_DEADLINE
        while b"READY" not in log.read_bytes():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"no HDFS at {self.address}: {log.read_text()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """End the process at once, as a machine that fails does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def build_server() -> Path:
    """Fetch and compile the server once a machine, some ten seconds from nothing; return the folder of its classes."""
    sources = [_SOURCES / "pom.xml", _SOURCES / "HdfsServer.java"]
    content = b"".join(source.read_bytes() for source in sources)
    built = CACHE / f"hdfs-{hashlib.sha256(content).hexdigest()[:12]}"
    if built.exists():
        return built
    missing = [tool for tool in ("mvn", "java", "javac") if shutil.which(tool) is None]
    assert not missing, (
        f"the HDFS of the tests needs {', '.join(missing)}: apt-get install maven openjdk-17-jdk-headless"
    )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name) / "hdfs"
        fetch = ["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        subprocess.run(fetch, cwd=_SOURCES, check=True)
        compile_ = ["javac", "-cp", f"{folder}/*", "-d", str(folder), str(sources[1])]
        subprocess.run(compile_, check=True)
        os.replace(folder, built)
    return built


@contextmanager
def hdfs_server(
    folder: Path, address: str, prefix: Sequence[str] = (), properties: Sequence[str] = ()
) -> Iterator[HdfsServer]:
    """Run a server; `prefix` is a command that runs another one somewhere else."""
    server = HdfsServer(folder, address, prefix, properties)
    try:
        server.start()
        yield server
    finally:
        server.stop()
