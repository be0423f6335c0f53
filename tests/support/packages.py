"""A small package made by the real library: a number and a category in, a probability and tags out."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract.package import (
    MANIFEST,
    CategoryFeature,
    Features,
    Label,
    Labels,
    NumberFeature,
    Output,
    OutputKind,
)
from modelyard.contract.wire import Published
from modelyard.model.publishing import Publication, publish
from modelyard.model.storage import open_store
from modelyard.model.storage.files import FileStore

FEATURES = Features(
    features=[
        NumberFeature(name="price", minimum=0, mean=50, scale=25),
        CategoryFeature(name="country", vocabulary=["nl", "de"], default="nl"),
    ]
)
LABELS = Labels(
    outputs=[
        Output(name="click", kind=OutputKind.PROBABILITY),
        Output(
            name="tags",
            kind=OutputKind.TAGS,
            labels=[Label(name="animal"), Label(name="dog", parents=["animal"]), Label(name="car")],
        ),
    ]
)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
SAMPLES = [{"price": 80.0, "country": "de"}, {"price": 10.0}]


def keras_model(seed: int = 1) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    price = keras.Input((), name="price")
    country = keras.Input((), name="country", dtype="int32")
    embedded = keras.layers.Embedding(3, 2)(country)
    joined = keras.layers.Concatenate()([keras.layers.Reshape((1,))(price), embedded])
    hidden = keras.layers.Dense(8, activation="relu")(joined)
    click = keras.layers.Dense(1, activation="sigmoid", name="click")(hidden)
    tags = keras.layers.Dense(3, activation="sigmoid", name="tags")(hidden)
    model = keras.Model({"price": price, "country": country}, {"click": click, "tags": tags})
    model.compile(loss="binary_crossentropy", optimizer="adam")
    return model


def publication(**changes: Any) -> Publication:
    holdout = {"price": np.linspace(0, 100, 40), "country": ["nl", "de", "fr", "nl"] * 10}
    fields: dict[str, Any] = {
        "name": "clicks",
        "run": "clicks-1",
        "step": 7,
        "attempt": "pod-a",
        "features": FEATURES,
        "labels": LABELS,
        "metrics": {"auc": 0.9},
        "holdout": holdout,
        "samples": SAMPLES,
    }
    return Publication(**fields | changes)


def publish_small(folder: Path, **changes: Any) -> Published:
    """Publish the small model below a folder."""
    return publish(keras_model(), publication(**changes), open_store(str(folder)), lambda: NOW)


def copy_package(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def store(folder: Path) -> FileStore:
    return FileStore(str(folder), folder)
