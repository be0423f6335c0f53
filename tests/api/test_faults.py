"""Stores that fail while something is published: it is waited for within a bound and told; nothing half is ever seen.

`MODELYARD_OUTAGE_SECONDS` is how long they are away: a few seconds here, a minute by hand.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelyard.contract import layout
from modelyard.contract.wire import Published
from modelyard.model.opening import fetch_package
from modelyard.model.publishing import upload_package
from modelyard.model.storage import Full, PatientStore, Store, Unreachable, open_store
from modelyard.training.state import StateStore
from tests.benchmarks.crashes import publication, state
from tests.support.control_plane import free_port
from tests.support.faulty import FaultyProxy, faulty_proxy
from tests.support.hdfs import HdfsServer, hdfs_server
from tests.support.packages import publish_small
from tests.support.s3 import S3Server, s3_server

OUTAGE = float(os.environ.get("MODELYARD_OUTAGE_SECONDS", "5"))
MARKERS = layout.published_folder("t-1")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(publish_small(tmp_path_factory.mktemp("package")).uri)


@pytest.fixture
def hdfs(tmp_path: Path) -> Iterator[HdfsServer]:
    with hdfs_server(tmp_path, f"127.0.0.1:{free_port()}") as server:
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3"), f"127.0.0.1:{free_port()}") as server:
        yield server


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.address) as running:
        yield running


def through(proxy: FaultyProxy, s3: S3Server, path: str) -> Store:
    return open_store(f"s3://models/{path}", s3.environment | {"AWS_ENDPOINT_URL": f"http://{proxy.address}"})


def fetch(published: Published, environment: dict[str, str], tmp_path: Path) -> None:
    """Download the package with every digest looked at."""
    (tmp_path / "fetched").mkdir()
    fetch_package(open_store(published.uri, environment), tmp_path / "fetched", published.digest)


def publish(package: Path, store: Store, seconds: float, told: list[str], attempt: str = "first") -> Published:
    patient = PatientStore(store, seconds, told.append)
    return upload_package(package, publication(attempt), patient, lambda: datetime.now(UTC))


def test_an_hdfs_that_goes_away_while_publishing_is_waited_for(hdfs: HdfsServer, package: Path, tmp_path: Path):
    store, told = open_store(f"{hdfs.uri}/models", {}), list[str]()
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(publish, package, store, OUTAGE + 90, told)
        while not store.list("runs/t-1/attempts"):
            time.sleep(0.01)
        hdfs.stop()
        time.sleep(OUTAGE)
        assert not pending.done()
        hdfs.start()
        published = pending.result(120)
    assert any(hdfs.address in message and "waiting for up to" in message for message in told)
    assert told[-1] == ""
    assert store.list(MARKERS) == [layout.published_marker("t-1", 7)]
    fetch(published, {}, tmp_path)


def test_an_hdfs_that_stays_away_ends_the_wait_and_the_next_attempt_goes_on(hdfs: HdfsServer, package: Path):
    store, told = open_store(f"{hdfs.uri}/models", {}), list[str]()
    states = StateStore(PatientStore(store, 1, told.append), "t-1", 2)
    states.save(state(1), "first")
    hdfs.stop()
    with pytest.raises(Unreachable, match=hdfs.address):
        states.save(state(2), "first")
    with pytest.raises(Unreachable, match=hdfs.address):
        publish(package, store, 2, told)
    hdfs.start()
    newest = states.newest()
    assert newest is not None
    assert newest.position.step == 1
    assert store.list(MARKERS) == []
    assert publish(package, store, 60, told, "second").token == "second"


def test_an_s3_that_answers_503_is_waited_for(proxy: FaultyProxy, s3: S3Server, package: Path, tmp_path: Path):
    store, told = through(proxy, s3, tmp_path.name), list[str]()
    proxy.is_unavailable = True
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(publish, package, store, OUTAGE + 60, told)
        time.sleep(OUTAGE)
        assert not pending.done()
        assert proxy.refused > 0
        proxy.is_unavailable = False
        published = pending.result(60)
    fetch(published, s3.environment, tmp_path)


def test_an_s3_that_is_slow_is_no_fault(proxy: FaultyProxy, s3: S3Server, package: Path, tmp_path: Path):
    store, told = through(proxy, s3, tmp_path.name), list[str]()
    proxy.delay = 0.2
    published = publish(package, store, 5, told)
    assert told == []
    fetch(published, s3.environment, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "modelyard-tests", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_with_the_fix_and_goes_on_when_there_is_room(small_disk: Path, package: Path):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * ((shutil.disk_usage(small_disk).free) - 8192))
    store, told = open_store(str(small_disk / "models")), list[str]()
    with pytest.raises(Full, match="No space left on device: free some space"):
        publish(package, store, 0.5, told)
    assert any("No space left on device" in message for message in told)
    assert store.list(MARKERS) == []
    assert not list(small_disk.rglob(".unfinished-*"))
    ballast.unlink()
    assert publish(package, store, 0.5, told, "second").token == "second"
