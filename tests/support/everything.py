"""A package with a feature of every type and an output of every kind."""

from pathlib import Path
from typing import Any

import numpy as np

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
    Label,
    Labels,
    ListFeature,
    NumberFeature,
    Output,
    OutputKind,
    Precision,
    TensorFeature,
)
from modelyard.contract.training import Optimise
from modelyard.contract.wire import Published
from modelyard.model.features import Encoder
from modelyard.model.publishing import Publication, publish
from modelyard.model.storage import open_store
from tests.support.packages import NOW

WORDS = ["sea", "city", "night", "snow"]
FEATURES = Features(
    features=[
        NumberFeature(name="price", minimum=0, maximum=500, mean=120, scale=60, description="a night, in euros"),
        IntegerFeature(name="guests", minimum=1, maximum=8, default=2, description="people"),
        BooleanFeature(name="member", default=False),
        CategoryFeature(name="country", vocabulary=["de", "fr", "nl", "no"], description="where the guest is"),
        DateFeature(name="arrival", parts=[DatePart.MONTH, DatePart.WEEKDAY]),
        HashFeature(name="guest", buckets=64, default="nobody", description="the guest's number or name"),
        BucketFeature(name="distance", boundaries=[10, 100, 1000], default=50),
        ListFeature(name="wishes", vocabulary=WORDS, length=4, default=[]),
        TensorFeature(name="taste", shape=[4, 4], minimum=0, maximum=16, scale=1 / 16),
        ImageFeature(name="photo", height=16, width=16, scale=1 / 255),
        CrossFeature(name="country_guests", of=["country", "guests"]),
    ]
)
TAGS = [Label(name="beach"), Label(name="sand", parents=["beach"]), Label(name="mountain"), Label(name="museum")]
LABELS = Labels(
    outputs=[
        Output(name="click", kind=OutputKind.PROBABILITY, description="whether the guest looks at it"),
        Output(name="nights", kind=OutputKind.REGRESSION),
        Output(name="themes", kind=OutputKind.TAGS, labels=TAGS),
        Output(name="vector", kind=OutputKind.RAW),
    ]
)
_ROWS = 200


def keras_model() -> Any:
    import keras

    keras.utils.set_random_seed(3)
    encoder = Encoder(FEATURES)
    inputs = {name: keras.Input(spec.shape, name=name, dtype=spec.dtype) for name, spec in encoder.inputs.items()}
    parts = []
    for name, value in inputs.items():
        if name == "wishes":
            value = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(len(WORDS) + 2, 3)(value))
        elif name in encoder.sizes:
            value = keras.layers.Embedding(encoder.sizes[name], 3)(value)
        parts.append(keras.layers.Flatten()(value) if len(value.shape) > 1 else keras.layers.Reshape((1,))(value))
    hidden = keras.layers.Dense(24, activation="relu")(keras.layers.Concatenate()(parts))
    outputs = {
        "click": keras.layers.Dense(1, activation="sigmoid", name="click")(hidden),
        "nights": keras.layers.Dense(1, name="nights")(hidden),
        "themes": keras.layers.Dense(len(TAGS), activation="sigmoid", name="themes")(hidden),
        "vector": keras.layers.Dense(3, name="vector")(hidden),
    }
    return keras.Model(inputs, outputs)


def columns(rows: int = _ROWS) -> dict[str, Any]:
    random = np.random.default_rng(5)
    return {
        "price": random.gamma(4, 30, rows).clip(0, 500),
        "guests": random.integers(1, 9, rows),
        "member": (random.random(rows) < 0.3).tolist(),
        "country": random.choice(["de", "fr", "nl", "no", "xx"], rows).tolist(),
        "arrival": [f"2026-{month:02}-{day:02}" for month, day in random.integers(1, (13, 29), (rows, 2))],
        "guest": [f"guest-{number}" for number in random.integers(0, 50, rows)],
        "distance": random.exponential(200, rows),
        "wishes": [random.choice(WORDS, random.integers(0, 5), replace=False).tolist() for _ in range(rows)],
        "taste": random.integers(0, 17, (rows, 4, 4)),
        "photo": random.integers(0, 256, (rows, 16, 16, 3), dtype=np.uint8),
    }


def row_of(columns: dict[str, Any], place: int) -> dict[str, Any]:
    row = {name: values[place] for name, values in columns.items()}
    return {
        name: value.tolist() if isinstance(value, np.ndarray | np.generic) else value for name, value in row.items()
    }


def publish_everything(folder: Path) -> Published:
    """Publish the model below a folder."""
    holdout = columns()
    publication = Publication(
        name="stays",
        run="stays-3",
        step=900,
        attempt="pod-a",
        features=FEATURES,
        labels=LABELS,
        metrics={"auc": 0.871, "nights_mae": 0.42},
        holdout=holdout,
        samples=[row_of(holdout, place) for place in range(3)],
        optimise=Optimise(variants=[Precision.FLOAT16, Precision.DYNAMIC], max_loss=0.5),
    )
    return publish(keras_model(), publication, open_store(str(folder)), lambda: NOW)
