"""Features: raw values to inputs, the same for requests, columns and queries; every problem names its feature."""

import hashlib
import io
import struct
import time
import zlib
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from modelyard.contract.package import (
    BooleanFeature,
    BucketFeature,
    CategoryFeature,
    CrossFeature,
    DateFeature,
    DatePart,
    Features,
    HashFeature,
    ImageFeature,
    IntegerFeature,
    ListFeature,
    NumberFeature,
    TensorFeature,
)
from modelyard.model.features import Encoder, FeatureError

ALL = Features(
    features=[
        NumberFeature(name="price", minimum=0, maximum=1000, mean=100, scale=50),
        IntegerFeature(name="hour", minimum=5, maximum=23),
        BooleanFeature(name="member", default=False),
        CategoryFeature(name="country", vocabulary=["nl", "de"]),
        DateFeature(name="day", parts=[DatePart.MONTH, DatePart.WEEKDAY, DatePart.DAY_OF_YEAR]),
        TensorFeature(name="pixels", shape=[2, 2], minimum=0, maximum=16, scale=1 / 16),
        CrossFeature(name="country_hour", of=["country", "hour"]),
    ]
)
ROW = {"price": 150, "hour": 7, "country": "de", "day": "2024-03-01", "pixels": [[0, 4], [8, 16]]}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(ALL)


def test_each_type_is_encoded_as_declared(encoder: Encoder):
    inputs = encoder.encode([ROW])
    flat = {name: values.tolist() for name, values in inputs.items()}
    assert flat == {
        "price": [1.0],
        "hour": [2],
        "member": [0.0],
        "country": [2],
        "day_month": [2],
        "day_weekday": [4],
        "day_day_of_year": [60],
        "pixels": [[[0.0, 0.25], [0.5, 1.0]]],
        "country_hour": [2 * 19 + 2],
    }
    for name, spec in encoder.inputs.items():
        assert (str(inputs[name].dtype), inputs[name].shape[1:]) == (spec.dtype, spec.shape), name


def test_rows_columns_and_query_parameters_agree(encoder: Encoder):
    rows = encoder.encode([ROW, ROW | {"country": "fr"}])
    columns = encoder.encode_columns({name: [value, value] for name, value in ROW.items()} | {"country": ["de", "fr"]})
    query = [(name, str(value)) for name, value in ROW.items() if name != "pixels"] + [("pixels", "0,4,8,16")]
    parsed = encoder.encode([encoder.parse_query(query)])
    for name in rows:
        np.testing.assert_array_equal(rows[name], columns[name])
        np.testing.assert_array_equal(rows[name][:1], parsed[name])
    assert rows["country"].tolist() == [2, 0]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"price": "cheap"}, "price"),
        ({"price": -1}, "price"),
        ({"price": float("nan")}, "price"),
        ({"price": None}, "price"),
        ({"price": True}, "price"),
        ({"hour": 7.5}, "hour"),
        ({"hour": 24}, "hour"),
        ({"member": "maybe"}, "member"),
        ({"country": 7}, "country"),
        ({"day": "2024-02-30"}, "day"),
        ({"day": "tomorrow"}, "day"),
        ({"pixels": [1, 2, 3]}, "pixels"),
        ({"pixels": [[0, 4], [8, 99]]}, "pixels"),
        ({"pixels": [[0, 4], [8]]}, "pixels"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_features_name(encoder: Encoder, change: dict, name: str):
    with pytest.raises(FeatureError, match=f"^{name}: "):
        encoder.encode([ROW | change])


def test_every_problem_is_told_at_once_and_a_misspelling_is_recognised(encoder: Encoder):
    with pytest.raises(FeatureError) as caught:
        encoder.encode([{"prise": 1, "hour": 99}])
    text = str(caught.value)
    assert "did you mean price?" in text
    for name in ("prise", "hour", "price", "country", "day", "pixels"):
        assert any(problem.startswith(f"{name}: ") for problem in caught.value.problems), name


@pytest.mark.parametrize("text", ["", "x", "1e999", "nan"])
def test_a_query_parameter_that_is_no_number_is_refused(encoder: Encoder, text: str):
    with pytest.raises(FeatureError, match=r"^price: "):
        encoder.encode([ROW | encoder.parse_query([("price", text)])])


def test_a_cross_of_what_is_no_index_is_refused():
    features = [NumberFeature(name="a"), NumberFeature(name="b"), CrossFeature(name="c", of=["a", "b"])]
    with pytest.raises(ValueError, match=r"features\.c\.of: a, b"):
        Encoder(Features(features=features))


EVERY = Features(
    features=[
        *ALL.features,
        HashFeature(name="user", buckets=1000),
        BucketFeature(name="age", boundaries=[18, 30, 65], default=40),
        ListFeature(name="seen", vocabulary=["a", "b"], length=3, default=[]),
        ImageFeature(name="photo", height=4, width=6, scale=1 / 255),
        CrossFeature(name="user_age", of=["user", "age"]),
    ]
)


def picture(format: str = "PNG", size: tuple[int, int] = (6, 4), mode: str = "RGB") -> bytes:
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3) * 3
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, format)
    return stream.getvalue()


def some_rows() -> list[dict[str, Any]]:
    random = np.random.default_rng(7)
    rows = []
    for number in range(200):
        row = {
            "price": float(random.uniform(0, 1000)) if number % 3 else int(random.integers(0, 1000)),
            "hour": int(random.integers(5, 24)),
            "country": str(random.choice(["nl", "de", "fr", ""])),
            "day": f"2024-{random.integers(1, 13):02}-{random.integers(1, 29):02}",
            "pixels": random.uniform(0, 16, (2, 2)).tolist(),
            "user": f"user-{random.integers(0, 10**9)}" if number % 2 else int(random.integers(0, 10**9)),
            "photo": picture() if number % 2 else random.integers(0, 256, (4, 6, 3)).tolist(),
        }
        optional = {"member": bool(number % 5), "age": float(random.normal(40, 20)), "seen": ["b", "c"][: number % 3]}
        rows.append(row | {name: value for name, value in optional.items() if random.random() < 0.7})
    return rows


def test_one_request_is_encoded_as_many_are_to_the_last_bit():
    encoder, rows = Encoder(EVERY), some_rows()
    together = encoder.encode(rows)
    assert list(together) == list(encoder.inputs)
    for place, row in enumerate(rows):
        alone = encoder.encode_row(row)
        for value, (name, spec) in zip(alone, encoder.inputs.items(), strict=True):
            cell = np.zeros(spec.shape, spec.dtype)
            cell[...] = value
            assert cell.tobytes() == together[name][place].tobytes(), name
            assert together[name].dtype == spec.dtype


def test_what_is_left_out_of_one_request_has_its_default_and_what_is_unknown_is_refused():
    encoder = Encoder(ALL)
    assert encoder.encode_row(ROW)[2] == 0.0
    with pytest.raises(FeatureError, match="colour: no such feature"):
        encoder.encode_row({**ROW, "colour": 1})
    with pytest.raises(FeatureError, match="price: missing"):
        encoder.encode_row({name: value for name, value in ROW.items() if name != "price"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": True},
        {"price": "1"},
        {"price": float("nan")},
        {"price": 10**400},
        {"price": -1},
        {"hour": 7.5},
        {"hour": 4},
        {"member": 1},
        {"country": 3},
        {"day": "yesterday"},
        {"user": 1.5},
        {"age": float("inf")},
        {"seen": "a"},
        {"seen": ["a", "b", "a", "b"]},
        {"seen": [1]},
        {"photo": b"no picture"},
        {"photo": picture()[:45]},
        {"photo": [[1, 2], [3, 4]]},
        {"pixels": [[0, 4], [8, 17]]},
    ],
)
def test_one_wrong_request_is_refused_by_its_feature(wrong: dict[str, Any]):
    [name] = wrong
    row = some_rows()[1] | wrong
    with pytest.raises(FeatureError) as refused:
        Encoder(EVERY).encode_row(row)
    assert str(refused.value).startswith(f"{name}: ")


def test_a_number_that_float32_cannot_hold_is_refused():
    encoder = Encoder(Features(features=[NumberFeature(name="x", scale=1e-3)]))
    assert np.isfinite(encoder.encode([{"x": 3e35}])["x"]).all()
    for encode in (lambda row: encoder.encode([row]), encoder.encode_row):
        with pytest.raises(FeatureError, match="x: "):
            encode({"x": 3e36})


def test_hashes_are_those_that_the_contract_describes():
    encoder = Encoder(Features(features=[HashFeature(name="user", buckets=1000)]))
    digest = hashlib.sha256(b"42").digest()
    expected = int.from_bytes(digest[:8], "little") % 1000
    assert encoder.encode([{"user": "42"}, {"user": 42}])["user"].tolist() == [expected, expected]
    assert encoder.encode_columns({"user": np.array([42] * 100)})["user"].tolist() == [expected] * 100


def test_a_value_on_a_boundary_belongs_above_it():
    encoder = Encoder(Features(features=[BucketFeature(name="age", boundaries=[18, 30])]))
    assert encoder.encode([{"age": value} for value in (17.9, 18, 29, 30, 99)])["age"].tolist() == [0, 1, 1, 2, 2]


def test_lists_are_filled_up_and_unknown_strings_are_one():
    encoder = Encoder(Features(features=[ListFeature(name="seen", vocabulary=["a", "b"], length=3)]))
    assert encoder.encode([{"seen": ["b", "c"]}, {"seen": []}])["seen"].tolist() == [[3, 1, 0], [0, 0, 0]]
    assert encoder.parse_query([("seen", "a"), ("seen", "b")]) == {"seen": ["a", "b"]}


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_decoded_and_resized(format: str, channels: Literal[1, 3]):
    encoder = Encoder(Features(features=[ImageFeature(name="photo", height=4, width=6, channels=channels)]))
    for size in ((6, 4), (60, 30)):
        encoded = encoder.encode([{"photo": picture(format, size)}])["photo"]
        assert encoded.shape == (1, 4, 6, channels)
        assert 0 <= encoded.min() < encoded.max() <= 255


def test_a_picture_of_too_many_pixels_is_refused_unread():
    encoder = Encoder(Features(features=[ImageFeature(name="photo", height=4, width=6)]))
    bomb = bytearray(picture())
    bomb[16:24] = struct.pack(">II", 60000, 60000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    with pytest.raises(FeatureError, match=r"60000x60000|exceeds limit|damaged"):
        encoder.encode([{"photo": bytes(bomb)}])


def test_a_tensor_of_one_number_may_come_as_that_number():
    encoder = Encoder(Features(features=[TensorFeature(name="x", shape=[1])]))
    assert encoder.encode([{"x": 3.0}, {"x": 4.0}])["x"].tolist() == [[3.0], [4.0]]
    assert encoder.encode([{"x": [3.0]}])["x"].tolist() == [[3.0]]
    assert encoder.encode_row({"x": 3.0})[0].tolist() == [3.0]


def test_a_query_is_encoded_as_its_row_is(encoder: Encoder):
    row = {**ROW, "member": "true", "pixels": "0,4,8,16"}
    pairs = [(name, str(value)) for name, value in row.items()]
    for given in (pairs, pairs[::-1], [pair for pair in pairs if pair[0] != "member"]):
        quick, careful = encoder.encode_query(given), encoder.encode_row(encoder.parse_query(given))
        assert [np.asarray(value).tolist() for value in quick] == [np.asarray(value).tolist() for value in careful]
    with pytest.raises(FeatureError, match="price: 'nan'"):
        encoder.encode_query([(name, "nan" if name == "price" else text) for name, text in pairs])


def test_names_that_are_many_or_long_cost_little_to_refuse():
    encoder = Encoder(Features(features=[NumberFeature(name=f"price_{place}") for place in range(200)]))
    many = {f"price_{place}x": 1 for place in range(20_000)}
    for row in ({"x" * 5_000_000: 1}, many):
        started = time.thread_time()
        with pytest.raises(FeatureError) as refused:
            encoder.encode([row])
        assert time.thread_time() - started < 0.1
        assert len(str(refused.value)) < 40_000
    assert "price_0x: no such feature; did you mean price_0?" in str(refused.value)
    assert "19990 more names are no features" in str(refused.value)
