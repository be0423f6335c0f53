"""Recommendation: user, context and item features of a flight to the probability of arriving over 15 minutes late.

Wide (crossed categories) and deep (embeddings), on the 336,776 flights that left New York City in 2013. Only what is
known before departure is used. Rows are split at random: 80 % to train, 10 % to watch, 10 % to measure and publish.
They are what `prepare.py` made: in the cluster a step before this one, on a laptop `python prepare.py`.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

import modelyard
from modelyard.contract.package import (
    CategoryFeature,
    CrossFeature,
    DateFeature,
    DatePart,
    Features,
    IntegerFeature,
    Label,
    Labels,
    NumberFeature,
    Output,
    OutputKind,
)
from modelyard.model.features import Encoder

CATEGORIES = ("carrier", "origin", "dest")
NUMBERS = ("distance", "temp", "wind_speed", "precip", "visib", "humid", "pressure", "seats", "plane_age")
CROSSES = {"carrier_dest": ["carrier", "dest"], "origin_hour": ["origin", "hour"], "month_hour": ["date_month", "hour"]}
LABELS = Labels(outputs=[Output(name="late", kind=OutputKind.PROBABILITY, labels=[Label(name="late")])])


def load(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return raw feature columns and, for each flight, whether it arrived more than 15 minutes late."""
    table = pd.read_parquet(path)
    columns: dict[str, np.ndarray] = {name: table[name].to_numpy(dtype=object) for name in (*CATEGORIES, "date")}
    columns |= {name: table[name].to_numpy() for name in (*NUMBERS, "hour")}
    return columns, (table["arr_delay"] > 15).to_numpy(dtype="float32")


def declare(columns: dict[str, np.ndarray]) -> Features:
    """Declare every feature once; vocabularies and scales come from the training rows."""
    features: list[Any] = [
        CategoryFeature(name=name, vocabulary=sorted(map(str, set(columns[name])))) for name in CATEGORIES
    ]
    parts = [DatePart.MONTH, DatePart.WEEKDAY, DatePart.DAY_OF_YEAR]
    features.append(DateFeature(name="date", parts=parts, description="day of departure"))
    features.append(IntegerFeature(name="hour", minimum=0, maximum=23, description="scheduled hour of departure"))
    for name in NUMBERS:
        values = columns[name]
        features.append(
            NumberFeature(
                name=name, mean=float(values.mean()), scale=float(values.std()) or 1.0, default=float(np.median(values))
            )
        )
    features += [CrossFeature(name=name, of=of) for name, of in CROSSES.items()]
    return Features(features=features)


def build(encoder: Encoder, learning_rate: float) -> keras.Model:
    """Return a wide and deep network: crosses add their own weight, everything else goes through hidden layers."""
    inputs = {n: keras.Input(spec.shape, name=n, dtype=spec.dtype) for n, spec in encoder.inputs.items()}
    wide, deep = [], []
    for name, size in encoder.sizes.items():
        if name in CROSSES:
            wide.append(keras.layers.Embedding(size, 1, embeddings_initializer="zeros")(inputs[name]))
        else:
            deep.append(keras.layers.Embedding(size, min(16, 2 + size // 4))(inputs[name]))
    deep += [keras.layers.Reshape((1,))(inputs[name]) for name in NUMBERS]
    x = keras.layers.Concatenate()(deep)
    for width in (128, 64):
        x = keras.layers.Dense(width, activation="relu")(x)
    logit = keras.layers.Add()([keras.layers.Dense(1)(x), *wide])
    late = keras.layers.Activation("sigmoid", name="late")(logit)
    model = keras.Model(inputs, {"late": late})
    model.compile(keras.optimizers.Adam(learning_rate), {"late": "binary_crossentropy"})
    return model


def measure(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return what counts on held-out flights."""
    return {
        "auc": float(roc_auc_score(truth, scores)),
        "log_loss": float(log_loss(truth, scores)),
        "base_rate": float(truth.mean()),
    }


def main() -> None:
    """Train, measure, publish."""
    run = modelyard.run()
    columns, late = load(run.path("prepare"))
    parts = np.split(np.random.default_rng(0).permutation(len(late)), [len(late) * 8 // 10, len(late) * 9 // 10])
    train, watch, held_out = ({name: values[rows] for name, values in columns.items()} for rows in parts)
    features = declare(train)
    encoder = Encoder(features)
    keras.utils.set_random_seed(run.seed)
    model = build(encoder, run.hyperparameter("learning_rate", 0.002))
    model.fit(
        run.batches(encoder.encode_columns(train), {"late": late[parts[0]]}, batch_size=1024),
        validation_data=(encoder.encode_columns(watch), {"late": late[parts[1]]}),
        epochs=run.hyperparameter("epochs", 3),
        initial_epoch=run.initial_epoch,
        callbacks=[run.callback()],
        verbose=run.verbose,
    )
    scores = model.predict(encoder.encode_columns(held_out), batch_size=4096, verbose=0)["late"].ravel()
    truth = late[parts[2]]
    metrics = measure(scores, truth)
    print(metrics)
    samples = [{name: _plain(values[row]) for name, values in held_out.items()} for row in range(8)]
    run.publish(
        model,
        features=features,
        labels=LABELS,
        metrics=metrics,
        holdout=held_out,
        samples=samples,
        evaluate=lambda outputs: measure(outputs["late"], truth),
    )


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return value.item() if isinstance(value, np.generic) else value


if __name__ == "__main__":
    main()
