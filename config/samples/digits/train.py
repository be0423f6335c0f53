"""Image tagging: handwritten digits to several tags in a hierarchy.

Runs on a laptop (`python train.py`, results under ./runs/) and in the cluster, where a ModelTraining runs it.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import train_test_split

import modelyard
from modelyard.contract.package import Features, Label, Labels, Output, OutputKind, TensorFeature
from modelyard.model.features import Encoder

#: Tags that a digit implies.
GROUPS = {"even": "02468", "odd": "13579", "loop": "0689", "straight": "147", "small": "01234"}
DIGITS = "0123456789"

FEATURES = Features(
    features=[
        TensorFeature(
            name="pixels",
            description="8x8 grey values, row by row: 0 is paper, 16 is ink",
            shape=[8, 8],
            minimum=0,
            maximum=16,
            scale=1 / 16,
        )
    ]
)
LABELS = Labels(
    outputs=[
        Output(
            name="tags",
            kind=OutputKind.TAGS,
            description="what is in the picture",
            labels=[Label(name=name) for name in GROUPS]
            + [Label(name=d, parents=[name for name, members in GROUPS.items() if d in members]) for d in DIGITS],
        )
    ]
)


def tags_of(digits: np.ndarray) -> np.ndarray:
    """Return the tags of digits: (rows, tags), 1 where a tag applies."""
    names = digits.astype(str)
    groups = [np.isin(names, list(members)) for members in GROUPS.values()]
    return np.stack([*groups, *(names == digit for digit in DIGITS)], axis=1).astype("float32")


def build(learning_rate: float) -> keras.Model:
    """Return a small convolutional network with one sigmoid a tag."""
    pixels = keras.Input((8, 8), name="pixels")
    x = keras.layers.Reshape((8, 8, 1))(pixels)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(128, activation="relu")(x))
    tags = keras.layers.Dense(len(LABELS.outputs[0].labels), activation="sigmoid", name="tags")(x)
    model = keras.Model({"pixels": pixels}, {"tags": tags})
    model.compile(keras.optimizers.Adam(learning_rate), {"tags": "binary_crossentropy"})
    return model


def measure(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return what counts on held-out pictures."""
    digits = slice(len(GROUPS), None)
    right = scores[:, digits].argmax(axis=1) == truth[:, digits].argmax(axis=1)
    return {
        "accuracy": float(right.mean()),
        "tag_f1": float(f1_score(truth, scores >= 0.5, average="macro")),
        "log_loss": float(np.mean([log_loss(t, s, labels=[0, 1]) for t, s in zip(truth.T, scores.T, strict=True)])),
    }


def main() -> None:
    """Train, measure, publish."""
    run = modelyard.run()
    pictures, digits = load_digits(return_X_y=True)
    train, held_out, train_digits, held_out_digits = train_test_split(
        pictures, digits, test_size=0.2, random_state=0, stratify=digits
    )
    encoder = Encoder(FEATURES)
    keras.utils.set_random_seed(run.seed)
    model = build(run.hyperparameter("learning_rate", 0.001))
    model.fit(
        run.batches(encoder.encode_columns({"pixels": train}), {"tags": tags_of(train_digits)}, batch_size=32),
        epochs=run.hyperparameter("epochs", 30),
        initial_epoch=run.initial_epoch,
        callbacks=[run.callback()],
        verbose=run.verbose,
    )
    scores = model.predict(encoder.encode_columns({"pixels": held_out}), verbose=0)["tags"]
    metrics = measure(scores, tags_of(held_out_digits))
    print(metrics)
    run.publish(
        model,
        features=FEATURES,
        labels=LABELS,
        metrics=metrics,
        holdout={"pixels": held_out},
        samples=[{"pixels": picture.tolist()} for picture in held_out[:8]],
        evaluate=lambda outputs: measure(outputs["tags"], tags_of(held_out_digits)),
    )


if __name__ == "__main__":
    main()
