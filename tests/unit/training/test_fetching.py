"""Data that lies elsewhere: downloaded whole, once, told in percent, and noticed when it changes."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract.wire import Phase, Progress
from modelyard.model.storage import NotFound, Refused, Unreachable
from modelyard.training.errors import ConfigurationError, DataChangedError
from modelyard.training.places import find
from modelyard.training.progress import ProgressFile
from modelyard.training.running import Run
from modelyard.training.sources import WAITS, Source
from tests.support.runs import claim, cluster_run

CONTENT = bytes(range(256)) * 20_000


class Answers:
    """What the server answers with."""

    content, tag, failures, served, cut = CONTENT, '"1"', 0, 0, 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers: Answers = self.server.answers  # type: ignore[attr-defined]
        if answers.failures:
            answers.failures -= 1
            self.send_error(503)
            return
        answers.served += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(answers.content)))
        self.send_header("ETag", answers.tag)
        self.end_headers()
        # whoever only asks for the headers hangs up
        with contextlib.suppress(ConnectionError):
            self.wfile.write(answers.content[:1000] if answers.served <= answers.cut else answers.content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[tuple[str, Answers]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers = Answers()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/rows.bin", server.answers  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def run_of(folder: Path, uri: str) -> Run:
    return cluster_run(folder, data=[{"name": "rows", "uri": uri}])


def watch(progress: ProgressFile) -> list[Progress]:
    seen: list[Progress] = []
    progress.listener = seen.append
    progress._clock = iter(range(10_000)).__next__  # every telling is written
    return seen


def test_a_download_is_told_in_percent_and_not_repeated(tmp_path: Path, web: tuple[str, Answers]):
    uri, answers = web
    run = run_of(tmp_path, uri)
    seen = watch(run.progress)
    assert run.path("rows").read_bytes() == CONTENT
    assert run.path("rows").name == "rows.bin"
    words = [told.message for told in seen if told.phase == Phase.DOWNLOADING]
    assert (words[0], words[-1]) == ("rows: 0 % of 5.12 MB", "rows: 100 % of 5.12 MB")
    assert len(words) > 3
    assert (seen[-1].phase, seen[-1].message) == (Phase.STARTING, "")
    served = answers.served
    # another attempt on this machine looks at the version only
    assert run_of(tmp_path, uri).path("rows").read_bytes() == CONTENT
    assert answers.served == served + 1
    assert not list(tmp_path.rglob(".unfinished-*"))


def test_data_that_changed_between_attempts_ends_the_run(tmp_path: Path, web: tuple[str, Answers]):
    uri, answers = web
    run_of(tmp_path, uri).path("rows")
    answers.tag = '"2"'
    with pytest.raises(DataChangedError, match=rf"spec.data\[rows\] \({uri}\): rows.bin changed since this run began"):
        run_of(tmp_path, uri).path("rows")


def test_data_that_changes_during_the_download_ends_the_run_and_leaves_nothing(
    tmp_path: Path, web: tuple[str, Answers], monkeypatch: pytest.MonkeyPatch
):
    uri, answers = web
    run = run_of(tmp_path, uri)
    monkeypatch.setattr(run.progress, "listener", lambda told: setattr(answers, "tag", '"2"') if told.message else None)
    with pytest.raises(DataChangedError, match=r"rows.bin changed while it was downloaded"):
        run.path("rows")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_store_that_does_not_answer_is_waited_for_two_minutes(tmp_path: Path, web: tuple[str, Answers]):
    uri, answers = web
    waited: list[float] = []
    progress = ProgressFile(None, "r", "a")
    seen = watch(progress)
    source = Source("rows", uri, environment={"MODELYARD_CACHE": str(tmp_path)}, progress=progress, sleep=waited.append)
    answers.failures = 3
    assert source.path().read_bytes() == CONTENT
    assert waited == [1.0, 2.0, 4.0]
    assert any("rows: waiting for the store: " in told.message and "503" in told.message for told in seen)
    answers.failures = 1000
    with pytest.raises(Unreachable, match="503"):
        source.version_of("rows.bin")
    assert sum(WAITS) == 120


def test_a_download_that_breaks_off_is_gone_on_with(tmp_path: Path, web: tuple[str, Answers]):
    uri, answers = web
    waited: list[float] = []
    progress = ProgressFile(None, "r", "a")
    environment = {"MODELYARD_CACHE": str(tmp_path)}
    source = Source("rows", uri, environment=environment, progress=progress, sleep=waited.append)
    answers.cut = 3  # its version, its size, and its first content
    assert source.path().read_bytes() == CONTENT
    assert waited == [1.0]


def test_a_stream_is_read_where_it_lies(tmp_path: Path, web: tuple[str, Answers]):
    uri, _ = web
    with run_of(tmp_path, uri).data("rows").open() as stream:
        assert stream.read(3) == CONTENT[:3]
        assert stream.read() == CONTENT[3:]
    assert not (tmp_path / "cache").exists()
    (claim(tmp_path) / "rows.bin").write_bytes(CONTENT)
    run = cluster_run(tmp_path, run="t-2", data=[{"name": "rows", "uri": "pvc://data/rows.bin"}])
    with run.data("rows").open() as stream:
        stream.read(3)
        (claim(tmp_path) / "rows.bin").write_bytes(CONTENT[:-1])
        with pytest.raises(DataChangedError, match=r"rows.bin changed while it was read"):
            stream.read()


@pytest.mark.parametrize(
    ("uri", "files"),
    [
        ("pvc://data/rows", ["a/1.csv", "a/b/2.csv", "a/b/3.txt"]),
        ("pvc://data/rows/", ["a/1.csv", "a/b/2.csv", "a/b/3.txt"]),
        ("pvc://data/rows/a/1.csv", ["1.csv"]),
        ("pvc://data/rows/*/*.csv", ["a/1.csv"]),
        ("pvc://data/rows/**/*.csv", ["a/1.csv", "a/b/2.csv"]),
        ("pvc://data/rows/a/b/[0-2].*", ["2.csv"]),
        ("pvc://data/rows/**/_*", ["a/_SUCCESS"]),
    ],
)
def test_a_uri_names_a_file_a_folder_or_what_fits_a_pattern(tmp_path: Path, uri: str, files: list[str]):
    folder = claim(tmp_path) / "rows" / "a"
    (folder / "b").mkdir(parents=True)
    for name in ("1.csv", "b/2.csv", "b/3.txt", "_SUCCESS", ".hidden"):
        (folder / name).touch()
    place = find(uri, {"MODELYARD_PVC_ROOT": str(tmp_path / "pvc")})
    assert [place.within(path) for path in place.list()] == files


def test_data_that_is_not_there_is_refused_by_its_field(tmp_path: Path):
    claim(tmp_path)
    with pytest.raises(ConfigurationError, match=r"spec.data\[rows\] \(pvc://data/none\): .* correct its uri"):
        run_of(tmp_path, "pvc://data/none").data("rows").path()
    with pytest.raises(ConfigurationError, match="has no files"):
        run_of(tmp_path, "pvc://data/*.csv").data("rows").path()
    with pytest.raises(Refused, match=r"s3://bucket/\*.csv: name a folder below s3://bucket"):
        run_of(tmp_path, "s3://bucket/*.csv").data("rows").path()
    with pytest.raises(NotFound, match="is not mounted"):
        run_of(tmp_path, "pvc://other/rows.csv").data("rows").path()
