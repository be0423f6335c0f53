"""Small parts of the server: access, cache, watching, telling, the prediction log."""

import json
import os
import ssl
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multidict import CIMultiDict

from modelyard.contract.package import (
    Baseline,
    Distribution,
    Features,
    IntegerFeature,
    Labels,
    Lookup,
    LookupAxis,
    NumberFeature,
    Output,
    OutputKind,
)
from modelyard.contract.wire import Published, ServingSummary
from modelyard.model.features import Encoder
from modelyard.model.lookup import LookupTable
from modelyard.model.sketches import describe_column
from modelyard_server.access import KeyRing
from modelyard_server.asking import Answer, Ask, RequestError
from modelyard_server.memory import Memory
from modelyard_server.predictions import LineWriter, PredictionLog
from modelyard_server.telling import Telling
from modelyard_server.watch import Watch
from tests.support.packages import copy_package
from tests.support.server import Server


def ask(**headers: str) -> Ask:
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Ask("POST", "/", "", named, b"", 0.0)


def test_keys_are_read_again_when_the_secret_changes(tmp_path: Path):
    now = [0.0]
    (tmp_path / "one").write_text("first\n")
    keys = KeyRing(tmp_path, lambda: now[0])
    keys.check({"Authorization": "Bearer first"})
    keys.check(CIMultiDict({"X-API-Key": "first"}))
    for headers in ({}, {"Authorization": "Bearer second"}, {"Authorization": "Basic first"}, {"x-api-key": ""}):
        with pytest.raises(RequestError) as refused:
            keys.check(headers)
        assert (refused.value.status, refused.value.headers) == (401, {"WWW-Authenticate": "Bearer"})
    (tmp_path / "one").unlink()
    (tmp_path / "two").write_text("second")
    now[0] = 10.0
    keys.check({"Authorization": "Bearer second"})
    with pytest.raises(RequestError, match="not known"):
        keys.check({"Authorization": "Bearer first"})


def test_without_any_key_nobody_is_let_in(tmp_path: Path):
    with pytest.raises(RequestError):
        KeyRing(tmp_path, lambda: 0.0).check({"Authorization": "Bearer "})


def test_the_least_recently_used_answer_goes_first():
    encoder = Encoder(Features(features=[IntegerFeature(name="x", minimum=0, maximum=9)]))
    domain = Lookup(variant="float32", rows=1, axes=[LookupAxis(feature="x", values=[9])])
    memory = Memory(LookupTable(domain, {"y": np.array([9.0])}, encoder), entries=2)
    for value in (1, 2):
        assert memory.find([value]) is None
        memory.keep([value], {"y": np.array([float(value)])})
    assert memory.find([1]) is not None
    memory.keep([3], {"y": np.array([3.0])})
    assert memory.find([2]) is None
    assert memory.find([9]) == {"y": np.array([9.0])}
    assert memory.find([np.zeros(3)]) is None
    assert (memory.lookup_hits, memory.cache_hits, memory.misses) == (1, 1, 3)


FEATURES = Features(features=[NumberFeature(name="x")])
LABELS = Labels(outputs=[Output(name="y", kind=OutputKind.REGRESSION)])
BASELINE = Baseline(
    rows=100,
    features={"x": Distribution(edges=[0.0, 1.0, 2.0], counts=[50, 50])},
    predictions={"y": Distribution(edges=[0.0, 1.0, 2.0], counts=[50, 50])},
)


def test_a_bounded_number_of_rows_is_counted_a_period():
    watch = Watch(BASELINE, FEATURES, LABELS, ("x",))
    for _ in range(1000):
        if watch.has_room(0.0):
            watch.add_row({"x": 0.5}, [0.5], {"y": np.array([1.5])})
    watch.fold(0.1)
    assert watch.features["x"].total == watch.predictions["y"].total == 250
    assert watch.features["x"].shift() > 1
    assert watch.features["x"].distance() == 0.5
    watch.add_columns({"x": [1.5] * 1000}, {"x": np.full(1000, 1.5)}, {"y": np.full(1000, 0.5)})
    assert not watch.has_room(0.2)
    assert watch.features["x"].counts.tolist() == [250, 250]
    assert watch.features["x"].distance() == 0


def test_every_kind_of_feature_is_described_and_watched():
    from tests.unit.model.test_features import EVERY, picture

    rows: list[dict[str, Any]] = [
        {"price": 1.0, "hour": 6, "member": True, "country": "nl", "day": "2024-01-05", "pixels": [[1, 2], [3, 4]]},
        {"price": 2.0, "hour": 7, "member": False, "country": "de", "day": "2024-02-05", "pixels": [[5, 6], [7, 8]]},
    ]
    rows[0] |= {"user": "a", "age": 20.0, "seen": ["a", "b"], "photo": picture()}
    rows[1] |= {"user": 5, "age": 30.0, "seen": [], "photo": np.full((4, 6, 3), 9).tolist()}
    encoder = Encoder(EVERY)
    columns = {name: [row[name] for row in rows] for name in encoder.names}
    described = {name: describe_column(EVERY, name, values) for name, values in columns.items()}
    watch = Watch(Baseline(rows=2, features=described, predictions={}), EVERY, LABELS, tuple(encoder.inputs))
    for row in rows:
        watch.add_row(row, encoder.encode_row(row), {"y": np.array([1.0])})
    watch.fold(1.0)
    one_by_one = {name: counter.counts.tolist() for name, counter in watch.features.items()}
    assert all(counter.shift() == 0 for counter in watch.features.values())
    pixels = encoder.encode(rows)
    watch.add_columns(columns, pixels, {"y": np.ones(2)})
    assert {name: (counter.counts // 2).tolist() for name, counter in watch.features.items()} == one_by_one


def test_what_is_counted_is_told_in_the_metrics_and_the_summary():
    telling = Telling("m", "1", "Latency")
    for number in range(1000):
        telling.observe(200, 0.002, Answer({}, 1 + number % 2, 0.0001, 0.0002, 0.0015))
    for status in (400, 404, 429, 503, 500):
        telling.observe(status, 0.3, None)
    page = telling.metrics().decode()
    summary = telling.complete(ServingSummary(model="m", version="1", digest="sha256:" + "0" * 64, state="Ready"))
    assert (summary.requests, summary.refused, summary.rejected, summary.errors) == (1005, 2, 2, 1)
    assert (summary.latency["0.0025"], summary.latency["+Inf"]) == (1000, 1005)
    labels = 'model_name="m",model_version="1",objective="Latency"'
    assert f'modelyard_requests_total{{{labels},outcome="rejected"}} 2.0' in page
    assert f'modelyard_request_instances_bucket{{le="1",{labels}}} 500.0' in page
    assert f"modelyard_overhead_seconds_count{{{labels}}} 1000.0" in page


def test_a_share_of_the_predictions_is_written_down():
    lines: list[str] = []
    chances = iter([0.05, 0.5, 0.09])
    when = datetime(2026, 1, 1, tzinfo=UTC)
    names = {"model": "m", "version": "1"}
    log = PredictionLog(0.1, names, write=lines.append, chance=chances.__next__, now=lambda: when)
    features: Mapping[str, Any] = {"x": 1.5, "photo": b"\x00\xff"}
    log.add(features, {"y": np.array([0.5], "float32")}, ask(X_Request_Id="7"))
    log.add(features, {"y": np.array([0.5])}, ask())
    log.add({"x": np.array([1, 2])}, {"y": np.array([0.5, 0.6])}, ask())
    first, second = map(json.loads, lines)
    assert first == {
        "time": "2026-01-01T00:00:00+00:00",
        "id": "7",
        "model": "m",
        "version": "1",
        "features": {"x": 1.5, "photo": {"b64": "AP8="}},
        "outputs": {"y": [0.5]},
    }
    assert len(second["id"]) == 32
    assert second["features"] == {"x": [1, 2]}


def test_the_prediction_log_may_be_a_file(tmp_path: Path):
    file = tmp_path / "predictions.jsonl"
    writer = LineWriter(str(file))
    log = PredictionLog(1.0, {}, write=writer)
    for number in range(3):
        log.add({"x": number}, {"y": np.array([0.5])}, ask())
    writer.close()
    assert [json.loads(line)["features"]["x"] for line in file.read_text().splitlines()] == [0, 1, 2]


def certificate(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", f"/CN={name}", "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.crt"]
    subprocess.run(command, check=True, capture_output=True)


def test_keys_and_encryption_hold_and_a_new_certificate_is_taken_up(published: Published, tmp_path: Path):
    keys, tls = tmp_path / "keys", tmp_path / "tls"
    keys.mkdir()
    (keys / "key").write_text("open")
    certificate(tls, "first")
    server = Server(
        tmp_path, published.uri, MODELYARD_API_KEYS=str(keys), MODELYARD_TLS=str(tls), MODELYARD_OPTIONS="{}"
    ).await_ready()
    assert server.ask("/v1/models/clicks:predict?price=1", scheme="https")[0] == 401
    bearer = {"Authorization": "Bearer open"}
    assert server.ask("/v1/models/clicks:predict?price=1", scheme="https", headers=bearer)[0] == 200
    before = ssl.get_server_certificate(("127.0.0.1", server.http))
    certificate(tls, "second")
    for _ in range(100):
        time.sleep(0.1)
        if ssl.get_server_certificate(("127.0.0.1", server.http)) != before:
            break
    assert ssl.get_server_certificate(("127.0.0.1", server.http)) != before
    assert server.end() == 0


def test_a_variant_that_is_not_there_is_said(package: Path, tmp_path: Path):
    folder = copy_package(package, tmp_path / "copy")
    server = Server(tmp_path, str(folder), MODELYARD_OPTIONS='{"variant": "int8"}')
    assert server.process.wait(timeout=30) == 1, server.output.read_text()
    assert "no variant int8; it has float32" in server.log.read_text()


def test_wrong_options_are_said_by_their_field(published: Published, tmp_path: Path):
    server = Server(tmp_path, published.uri, MODELYARD_OPTIONS='{"cache": {"entries": -1}}')
    assert server.process.wait(timeout=30) == 2
    assert "MODELYARD_OPTIONS: cache.entries" in server.output.read_text()
    assert os.path.exists(server.log) is False
