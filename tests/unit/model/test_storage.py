"""Stores: files and S3 keep the same promises; http only reads."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.model.storage import Changed, NotFound, Refused, Store, Unreachable, open_store
from tests.support.s3 import s3_server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3"), "127.0.0.1:17070") as server:
        yield server.environment


@pytest.fixture(params=["files", "claim", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "files":
        return open_store(str(tmp_path / "models"))
    if request.param == "claim":
        (tmp_path / "models").mkdir()
        return open_store("pvc://models/a/b", {"MODELYARD_PVC_ROOT": str(tmp_path)})
    return open_store(f"s3://models/{tmp_path.name}", request.getfixturevalue("s3"))


def test_what_is_written_is_read_listed_and_deleted(store: Store, tmp_path: Path):
    store.write("a/b.txt", b"one")
    store.write("a/b.txt", b"two")
    (tmp_path / "local").write_bytes(b"three" * 1000)
    store.upload(tmp_path / "local", "a/c.bin")
    assert store.read("a/b.txt") == b"two"
    store.download("a/c.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"three" * 1000
    assert store.list("a") == ["a/b.txt", "a/c.bin"]
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert store.list("a") == ["a/c.bin"]
    assert store.list("nothing") == []


def test_an_object_is_read_as_a_stream_from_any_place(store: Store):
    content = bytes(range(256)) * 12_000
    store.write("a/b.bin", content)
    assert store.size("a/b.bin") == len(content)
    with store.open("a/b.bin") as stream:
        assert stream.read(3) == content[:3]
        stream.seek(-5, os.SEEK_END)
        assert stream.read() == content[-5:]
        stream.seek(2_000_001)
        assert stream.read(70_000) == content[2_000_001:2_070_001]
        assert stream.tell() == 2_070_001
        stream.seek(0)
        assert stream.read() == content
    store.write("a/lines.csv", b"a,b\n1,2\n")
    with store.open("a/lines.csv") as stream:
        assert list(stream) == [b"a,b\n", b"1,2\n"]
    store.write("a/empty", b"")
    with store.open("a/empty") as stream:
        assert stream.read() == b""


def test_another_content_has_another_token(store: Store):
    store.write("rows.csv", b"1,2,3")
    before = store.token("rows.csv")
    assert store.token("rows.csv") == before
    store.write("rows.csv", b"1,2,4")
    assert store.token("rows.csv") != before
    with pytest.raises(NotFound, match=r"no\.csv"):
        store.token("no.csv")


def test_nothing_lies_below_a_file(tmp_path: Path):
    store = open_store(str(tmp_path))
    store.write("rows.csv", b"x")
    assert store.list("rows.csv") == []


def test_old_and_new_content_are_never_mixed(store: Store):
    store.write("rows.bin", b"old!" * 2_000_000)
    with store.open("rows.bin") as stream:
        old = stream.read(1000)
        store.write("rows.bin", b"new!" * 2_000_000)
        stream.seek(4_000_000)
        told = "rows.bin"
        try:
            old += stream.read()
        except Changed as error:
            told = str(error)
    assert "rows.bin" in told
    assert b"new!" not in old


def test_of_ten_writers_exactly_one_creates(store: Store):
    for round_ in range(5):
        path = f"markers/{round_}.json"
        with ThreadPoolExecutor(10) as pool:
            won = list(
                pool.map(lambda number, path=path: store.create_once(path, f"writer {number}".encode()), range(10))
            )
        assert won.count(True) == 1
        assert store.read(path) == f"writer {won.index(True)}".encode()


def test_what_is_not_there_is_not_found_by_name(store: Store):
    with pytest.raises(NotFound, match=r"a/b\.txt"):
        store.read("a/b.txt")


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../../b", "a//b"])
def test_a_path_that_leaves_the_store_is_refused(store: Store, path: str):
    with pytest.raises(Refused):
        store.read(path)


def test_a_copy_that_cannot_be_written_is_no_fault_of_the_store(store: Store, tmp_path: Path):
    store.write("a/b", b"1")
    with pytest.raises(FileNotFoundError) as told:
        store.download("a/b", tmp_path / "no" / "such" / "folder")
    assert not isinstance(told.value, NotFound)


def test_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "models").mkdir()
    os.symlink(tmp_path / "secret", tmp_path / "models" / "link")
    with pytest.raises(Refused, match="link"):
        open_store(str(tmp_path / "models")).download("link", tmp_path / "copy")


def test_a_store_that_does_not_answer_is_unreachable_within_seconds():
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with pytest.raises(Unreachable, match="s3://models/x"):
        open_store("s3://models/x", environment).read("y")


def test_wrong_keys_are_refused_with_the_field_to_look_at(s3: dict[str, str]):
    with pytest.raises(Refused, match=r"spec\.storage\.secretNames"):
        open_store("s3://models/x", s3 | {"AWS_SECRET_ACCESS_KEY": "wrong"}).read("y")


def test_an_unknown_kind_of_store_and_an_unmounted_claim_are_told():
    with pytest.raises(Refused, match="ftp://"):
        open_store("ftp://models/x")
    with pytest.raises(NotFound, match="claim nowhere"):
        open_store("pvc://nowhere/x", {"MODELYARD_PVC_ROOT": "/nonexistent"})
