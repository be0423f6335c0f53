"""The two models of the serving benchmarks, published by the real library: `python -m tests.benchmarks.serving.models`.

What they answer is of no interest here, so their weights are random: sizes and operations are what a product has.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract.package import (
    CategoryFeature,
    Features,
    ImageFeature,
    Label,
    Labels,
    NumberFeature,
    Output,
    OutputKind,
)
from modelyard.model.publishing import Publication, publish
from modelyard.model.storage import open_store

IDS, NUMBERS, WORDS, WIDTH = 6, 10, 5000, 32
SIDE, TAGS = 224, 50
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def recommender() -> tuple[Any, Publication]:
    """6 ids of 5,000 words, each embedded in 32 numbers, and 10 numbers; 256-128-64; one probability."""
    import keras

    keras.utils.set_random_seed(1)
    ids = [f"id{place}" for place in range(IDS)]
    numbers = [f"number{place}" for place in range(NUMBERS)]
    words = [f"word-{place}" for place in range(WORDS)]
    inputs: dict[str, Any] = {name: keras.Input((), name=name, dtype="int32") for name in ids}
    inputs |= {name: keras.Input((), name=name) for name in numbers}
    parts = [keras.layers.Embedding(WORDS + 1, WIDTH)(inputs[name]) for name in ids]
    parts += [keras.layers.Reshape((1,))(inputs[name]) for name in numbers]
    hidden = keras.layers.Concatenate()(parts)
    for units in (256, 128, 64):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    click = keras.layers.Dense(1, activation="sigmoid", name="click")(hidden)
    random = np.random.default_rng(1)
    holdout: dict[str, Any] = {name: random.choice(words, 2000) for name in ids}
    holdout |= {name: random.normal(size=2000) for name in numbers}
    rows = [{name: values[row].item() for name, values in holdout.items()} for row in range(16)]
    features = [CategoryFeature(name=name, vocabulary=words) for name in ids]
    publication = _publication(
        "recommender",
        Features(features=[*features, *(NumberFeature(name=name) for name in numbers)]),
        Labels(outputs=[Output(name="click", kind=OutputKind.PROBABILITY)]),
        holdout=holdout,
        samples=rows,
    )
    return keras.Model(inputs, {"click": click}), publication


def tagger() -> tuple[Any, Publication]:
    """MobileNetV2 on 224x224 pictures, 50 tags."""
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    base = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_tensor=image)
    tags = keras.layers.Dense(TAGS, activation="sigmoid", name="tags")(base.output)
    pictures = np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    labels = [Label(name=f"tag-{place}", parents=["tag-0"] if place % 5 == 4 else []) for place in range(TAGS)]
    publication = _publication(
        "tagger",
        Features(features=[ImageFeature(name="image", height=SIDE, width=SIDE, scale=1 / 127.5, offset=-1.0)]),
        Labels(outputs=[Output(name="tags", kind=OutputKind.TAGS, labels=labels)]),
        holdout={"image": pictures},
        samples=[{"image": pictures[0].tolist()}],
    )
    return keras.Model({"image": image}, {"tags": tags}), publication


def _publication(name: str, features: Features, labels: Labels, **data: Any) -> Publication:
    return Publication(
        name=name, run=f"{name}-1", step=1, attempt="benchmark", features=features, labels=labels, metrics={}, **data
    )


def packages(folder: Path) -> dict[str, Path]:
    """Return the package of each model, published below the folder unless it is there already."""
    found = {}
    for make in (recommender, tagger):
        place = folder / f"{make.__name__}.json"
        if not place.exists():
            model, publication = make()
            published = publish(model, publication, open_store(str(folder)), lambda: _NOW)
            place.write_text(json.dumps({"uri": published.uri}))
        found[make.__name__] = Path(json.loads(place.read_text())["uri"].removeprefix("file://"))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the packages are kept")
    print(json.dumps({name: str(path) for name, path in packages(parser.parse_args().folder).items()}))
