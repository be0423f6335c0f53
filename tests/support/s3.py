"""A real S3 server (versitygw) on this machine, built from the Go modules pinned beside this file."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.kubectl import ROOT

ACCESS, SECRET = "modelyard", "modelyard-secret"
#: Where the servers of the tests are kept once they are built.
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelyard" / "test-tools"
_MODULE = ROOT / "tests/support/versitygw"


@dataclass(frozen=True)
class S3Server:
    """Where the server listens, and the folder that holds its buckets."""

    address: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://{self.address}",
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }


def build_server() -> Path:
    """Build the server once a machine: a minute from nothing."""
    binary = CACHE / f"versitygw-{(_MODULE / 'go.sum').stat().st_size}"
    if not binary.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["go", "build", "-o", str(binary), "github.com/versity/versitygw/cmd/versitygw"]
        subprocess.run(command, cwd=_MODULE, check=True)
    return binary


@contextmanager
def s3_server(folder: Path, address: str, prefix: Sequence[str] = ()) -> Iterator[S3Server]:
    """Run a server with the bucket `models`; `prefix` is a command that runs another one somewhere else."""
    (folder / "models").mkdir(parents=True, exist_ok=True)
    server = [str(build_server()), "--port", address, "--access", ACCESS, "--secret", SECRET, "posix", str(folder)]
    with subprocess.Popen([*prefix, *server], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            if not prefix:
                _await(address)
            yield S3Server(address, folder)
        finally:
            process.terminate()
            process.wait(10)


def _await(address: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://{address}/", timeout=1).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise AssertionError(f"no S3 server at {address} after 10 s")
