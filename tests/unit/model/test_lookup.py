"""The lookup table: exact answers for a finite domain, and nothing for what is outside of it."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelyard
from modelyard.contract.package import (
    LOOKUP,
    LOOKUP_DOMAIN,
    BooleanFeature,
    BucketFeature,
    CategoryFeature,
    CrossFeature,
    DateFeature,
    DatePart,
    Features,
    HashFeature,
    IntegerFeature,
    Labels,
    ListFeature,
    NumberFeature,
    Output,
    OutputKind,
)
from modelyard.model import lookup
from modelyard.model.features import Encoder
from modelyard.model.lookup import LARGEST_TABLE, declare_lookup, open_lookup, write_lookup
from modelyard.model.publishing import publish
from modelyard.model.sources import PublishError
from tests.support.packages import NOW, keras_model, publication, store
from tests.support.server import Server

LABELS = Labels(outputs=[Output(name="y", kind=OutputKind.REGRESSION)])
FEATURES = Features(
    features=[
        CategoryFeature(name="country", vocabulary=["nl", "de", "?"]),
        BooleanFeature(name="mobile"),
        IntegerFeature(name="hour", minimum=-1, maximum=3, default=0),
        BucketFeature(name="age", boundaries=[18, 65.5]),
        DateFeature(name="day", parts=[DatePart.MONTH, DatePart.WEEKDAY], default="2013-07-10"),
        NumberFeature(name="price", mean=3, scale=7, default=0.1),
        CrossFeature(name="crossed", of=["country", "hour"]),
    ]
)


def made(folder: Path, declared: Any, features: Features = FEATURES) -> tuple[Encoder, Any]:
    """Write a table of what the instances hash to, and open it."""
    encoder = Encoder(features)
    domain = declare_lookup(declared, encoder, "float32")
    write_lookup(folder, domain, encoder, lambda values: {"y": answer(values)})
    return encoder, open_lookup(folder, encoder, LABELS, "float32")


def answer(values: Any) -> Any:
    return np.array([hash(tuple(float(value) for value in values)) % 10_007], np.float32)


def test_every_request_of_the_domain_finds_its_own_answer(tmp_path: Path):
    declared = {"country": None, "mobile": None, "hour": [-1, 2], "age": None, "price": [0.1, 7, -2.5]}
    encoder, table = made(tmp_path, declared)
    assert len(table) == 4 * 2 * 2 * 3 * 3
    requests = itertools.product(["nl", "?", "de", "xx"], [True, False], [-1, 2], [3, 18, 65.4, 70], [7.0, -2.5])
    for country, mobile, hour, age, price in requests:
        row = {"country": country, "mobile": mobile, "hour": hour, "age": age, "price": price}
        values = encoder.encode_row(row)
        assert table.find(values)["y"] == answer(values), row


def test_what_is_outside_of_the_domain_is_not_found(tmp_path: Path):
    encoder, table = made(tmp_path, {"country": ["nl"], "mobile": [True], "age": [30]})
    inside = {"country": "nl", "mobile": True, "age": 20}
    assert table.find(encoder.encode_row(inside)) is not None
    others = [{"country": "de"}, {"mobile": False}, {"age": 70}, {"price": 0.2}, {"hour": 1}, {"day": "2013-07-11"}]
    for other in others:
        assert table.find(encoder.encode_row(inside | other)) is None, other
    assert table.find([np.zeros(3), *encoder.encode_row(inside)[1:]]) is None


def test_a_whole_date_is_every_combination_of_its_parts(tmp_path: Path):
    features = Features(features=[DateFeature(name="day", parts=[DatePart.MONTH, DatePart.DAY, DatePart.WEEKDAY])])
    encoder, table = made(tmp_path, ["day"], features)
    assert len(table) == 366 * 7
    for day in ("2024-02-29", "1900-12-31", "2031-01-01"):
        values = encoder.encode_row({"day": day})
        assert table.find(values)["y"] == answer(values)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (["country"], r"mobile has no default: give its values, lookup=\{'mobile': \[...\]\}"),
        (["planet"], "no feature planet"),
        (["crossed"], "no feature crossed that a request gives"),
        (["country", "mobile", "age", "price"], r"a number has no finite domain: lookup=\{'price': \[...\]\} lists"),
        ({"country": ["nl", "xx", "yy"], "mobile": None, "age": None}, "'yy' is encoded as another value is"),
        ({"country": None, "mobile": ["perhaps"], "age": None}, "mobile"),
        ({"country": None, "mobile": None, "age": []}, r"age|at least 1"),
        ([], "no default"),
    ],
)
def test_a_domain_that_cannot_be_is_told_by_name(declared: Any, message: str):
    with pytest.raises(ValueError, match=message):
        declare_lookup(declared, Encoder(FEATURES), "float32")


def test_too_many_rows_and_lists_are_refused():
    big = Features(features=[IntegerFeature(name=name, minimum=1, maximum=2000) for name in ("a", "b")])
    with pytest.raises(PublishError, match=r"a \(2,000\) \* b \(2,000\) make 4,000,000 rows; between 1 and 1,000,000"):
        declare_lookup(["a", "b"], Encoder(big), "float32")
    lists = Features(features=[*FEATURES.features, ListFeature(name="tags", vocabulary=["a"], length=2, default=[])])
    with pytest.raises(PublishError, match="tags is a list: a table needs features of one value"):
        declare_lookup(["country"], Encoder(lists), "float32")
    hashed = Features(features=[HashFeature(name="user", buckets=10)])
    with pytest.raises(PublishError, match="a hash has no finite domain"):
        declare_lookup(["user"], Encoder(hashed), "float32")
    assert LARGEST_TABLE == 1_000_000


def test_a_package_answers_out_of_its_table_what_it_would_compute(tmp_path: Path):
    declared = {"price": [10, 20.5, 80], "country": None}
    published = publish(keras_model(), publication(lookup=declared), store(tmp_path), lambda: NOW)
    model = modelyard.open(published.uri)
    assert len(model.lookup) == 9
    rows = [{"price": price, "country": country} for price in (10, 20.5, 80) for country in ("nl", "de", "elsewhere")]
    for row in [*rows, {"price": 80}]:
        values = model.encoder.encode_row(row)
        found = model.lookup.find(values)
        for name, computed in model.executor.compute_row(values).items():
            np.testing.assert_array_equal(found[name], computed)
        assert model.predict(row) == model.answerer.rows(found)[0]
    assert model.lookup.find(model.encoder.encode_row({"price": 11})) is None
    model.predict({"price": 11})


def test_a_server_answers_out_of_the_table_and_counts_it(tmp_path: Path):
    declared = {"price": [10, 80], "country": None}
    published = publish(keras_model(), publication(lookup=declared), store(tmp_path), lambda: NOW)
    expected = modelyard.open(published.uri).predict({"price": 80})
    server = Server(tmp_path, published.uri, published.digest).await_ready()
    try:
        assert server.ask("/v1/models/clicks:predict?price=80")[1] == {"predictions": [expected]}
        server.ask("/v1/models/clicks:predict?price=81")
        metrics = server.ask("/metrics", port=server.status)[1]
    finally:
        assert server.end() == 0
    [hits] = [line for line in metrics.splitlines() if line.startswith("modelyard_lookup_hits_total{")]
    assert hits.endswith(" 1.0")


def test_a_damaged_table_is_refused_and_another_variants_is_not_used(tmp_path: Path):
    encoder, table = made(tmp_path, {"country": ["nl", "de"], "mobile": [True], "age": [30]})
    assert len(table) == 2
    assert open_lookup(tmp_path, encoder, LABELS, "int8") is None
    domain, outputs = (tmp_path / LOOKUP_DOMAIN).read_text(), (tmp_path / LOOKUP).read_bytes()
    for text in (domain.replace('"rows":2', '"rows":3'), "{}", domain.replace("country", "planet")):
        (tmp_path / LOOKUP_DOMAIN).write_text(text)
        with pytest.raises(ValueError, match=r"lookup"):
            open_lookup(tmp_path, encoder, LABELS, "float32")
    (tmp_path / LOOKUP_DOMAIN).write_text(domain)
    for content in (outputs[:-30], outputs.replace(b"y.npy", b"z.npy")):
        (tmp_path / LOOKUP).write_bytes(content)
        with pytest.raises(ValueError, match=r"lookup\.npz"):
            open_lookup(tmp_path, encoder, LABELS, "float32")


def test_a_table_that_unpacks_to_more_than_any_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    encoder, _ = made(tmp_path, {"country": ["nl", "de"], "mobile": [True], "age": [30]})
    np.savez_compressed(tmp_path / LOOKUP, y=np.zeros(100_000, np.float32))
    assert (tmp_path / LOOKUP).stat().st_size < 2000
    monkeypatch.setattr(lookup, "_LARGEST_BYTES", 100_000)
    with pytest.raises(ValueError, match="unpacks to 400,128 bytes"):
        open_lookup(tmp_path, encoder, LABELS, "float32")
