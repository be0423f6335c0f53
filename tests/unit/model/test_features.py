"""Features: raw values to inputs, the same for requests, columns and queries; every problem names its feature."""

import numpy as np
import pytest

from modelyard.contract.package import (
    BooleanFeature,
    CategoryFeature,
    CrossFeature,
    DateFeature,
    DatePart,
    Features,
    IntegerFeature,
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
