"""HDFS, a real one: it keeps the promises of every store; killed writers and denials; it goes away and comes back."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hdfs_native
import pytest

from modelyard.model.storage import Refused, Store, Unreachable, open_store
from modelyard_trainer.attempting import probe
from tests.support.control_plane import free_port
from tests.support.hdfs import HdfsServer, hdfs_server

# what every store promises is tested here against this one
from tests.unit.model.test_storage import (  # noqa: F401
    test_a_path_that_leaves_the_store_is_refused,
    test_an_object_is_read_as_a_stream_from_any_place,
    test_another_content_has_another_token,
    test_of_ten_writers_exactly_one_creates,
    test_old_and_new_content_are_never_mixed,
    test_what_is_not_there_is_not_found_by_name,
    test_what_is_written_is_read_listed_and_deleted,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HdfsServer]:
    with hdfs_server(tmp_path_factory.mktemp("hdfs"), f"127.0.0.1:{free_port()}") as running:
        yield running


@pytest.fixture
def store(server: HdfsServer, tmp_path: Path) -> Store:
    return open_store(f"{server.uri}/models/{tmp_path.name}", {})


def _killed_while_writing(uri: str, name: str) -> None:
    client = hdfs_native.Client(uri)
    writer = client.create(name, hdfs_native.WriteOptions(overwrite=False))
    writer.write(b"half" * 1_000_000)
    writer.hsync()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_is_seen_by_nobody_and_in_nobodys_way(server: HdfsServer, store: Store, tmp_path: Path):
    name = f"/models/{tmp_path.name}/a/.unfinished-1"
    process = multiprocessing.get_context("spawn").Process(target=_killed_while_writing, args=(server.uri, name))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert store.list("a") == []
    assert store.create_once("a/marker.json", b"second")
    assert store.list("a") == ["a/marker.json"]


def test_a_file_that_is_still_written_is_no_end_of_the_data(server: HdfsServer, store: Store, tmp_path: Path):
    client = hdfs_native.Client(server.uri)
    writer = client.create(f"/models/{tmp_path.name}/rows.csv", hdfs_native.WriteOptions(overwrite=False))
    writer.write(b"1,2\n" * 1000)
    writer.hsync()
    with pytest.raises(Unreachable, match=r"rows\.csv ends at byte 0 of 4000"):
        store.read("rows.csv")
    writer.close()
    assert store.read("rows.csv") == b"1,2\n" * 1000


def test_who_may_not_write_is_told_which_key_to_look_at(server: HdfsServer, store: Store):
    store.write("a", b"")
    ask = f"from modelyard.model.storage import open_store; open_store({store.uri!r}).write('b', b'')"
    environment = {**os.environ, "HADOOP_USER_NAME": "somebody"}
    answer = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True)
    assert "Refused" in answer.stderr
    assert "HADOOP_USER_NAME in spec.storage.secretNames" in answer.stderr
    assert "user=somebody, access=WRITE" in answer.stderr


def test_a_name_service_comes_from_the_keys_of_the_secret(server: HdfsServer):
    with pytest.raises(Refused, match=r"dfs\.ha\.namenodes"):
        open_store("hdfs://models/x", {}).list("y")
    environment = {"dfs.ha.namenodes.models": "one", "dfs.namenode.rpc-address.models.one": server.address}
    store = open_store("hdfs://models/x", environment)
    store.write("y/z", b"1")
    assert store.list("y") == ["y/z"]
    assert open_store(f"{server.uri}/x", {}).read("y/z") == b"1"


def test_the_start_up_probe_is_content(store: Store):
    probe(store, "t-1")
    assert store.list("runs") == []


def test_a_server_that_comes_back_is_used_again(server: HdfsServer, store: Store):
    store.write("a", b"before")
    server.stop()
    with pytest.raises(Unreachable, match=store.uri):
        store.create_once("marker", b"mine")
    server.start()
    assert store.read("a") == b"before"
    assert store.create_once("marker", b"mine")
    assert not store.create_once("marker", b"theirs")
