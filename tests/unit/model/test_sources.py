"""What can be published: models of every style, asked by name and answering by name."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelyard.contract.package import Label, Labels, Output, OutputKind
from modelyard.model.features import InputSpec
from modelyard.model.sources import PublishError, Source

ONE = {"x": InputSpec("float32", (2,))}
TWO = {"price": InputSpec("float32", ()), "country": InputSpec("int32", ())}
Y = Labels(outputs=[Output(name="y", kind=OutputKind.REGRESSION)])
BOTH = Labels(
    outputs=[
        Output(name="y", kind=OutputKind.REGRESSION),
        Output(name="tags", kind=OutputKind.TAGS, labels=[Label(name="a"), Label(name="b")]),
    ]
)
X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
ROWS = {"price": np.array([1.0, 2.0], np.float32), "country": np.array([0, 3], np.int32)}
SUM = [1.0, 5.0]


def total(price: Any, country: Any) -> Any:
    return price + tf.cast(country, tf.float32)


def asked(model: Any, inputs: dict[str, InputSpec] = TWO, rows: Any = ROWS, labels: Labels = Y) -> Any:
    return Source(model, inputs, labels).outputs(rows)


class Named(tf.Module):
    def __call__(self, price: Any, country: Any) -> Any:
        return total(price, country)


class Mapping(tf.Module):
    @tf.function
    def serve(self, features: Any) -> Any:
        return {"y": total(**features), "unused": features["price"]}


class Subclassed(keras.Model):
    def call(self, inputs: Any, training: bool = True) -> Any:
        return total(**inputs) + (100.0 if training else 0.0)


class Anything(tf.Module):
    def __call__(self, **features: Any) -> Any:
        return (total(**features),)


@pytest.mark.parametrize(
    "model", [Named(), Mapping(), Subclassed(), Anything(), tf.function(total), lambda country, price: price + country]
)
def test_a_model_takes_its_features_by_name_or_as_one_mapping(model: Any):
    np.testing.assert_allclose(asked(model)["y"], SUM)


def test_a_sequential_model_with_one_output_needs_no_names():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    np.testing.assert_allclose(asked(model, ONE, {"x": X})["y"], [[3.0], [7.0]])


def test_a_functional_model_with_lists_is_asked_by_the_names_of_its_layers():
    country, price = keras.Input((), name="country", dtype="int32"), keras.Input((), name="price")
    tags = keras.layers.Lambda(lambda given: keras.ops.stack([given, given], axis=1), name="tags")(price)
    y = keras.layers.Lambda(lambda given: keras.ops.cast(given, "float32"), name="y")(country)
    answers = asked(keras.Model([country, price], [tags, y]), labels=BOTH)
    np.testing.assert_allclose(answers["y"], [0.0, 3.0])
    np.testing.assert_allclose(answers["tags"], [[1.0, 1.0], [2.0, 2.0]])


def test_a_subclassed_model_of_one_feature_takes_the_tensor_or_the_mapping():
    class Tensor(keras.Model):
        def call(self, inputs: Any) -> Any:
            return keras.ops.sum(inputs, axis=1)

    class Keyed(keras.Model):
        def call(self, inputs: Any) -> Any:
            return keras.ops.sum(inputs["x"], axis=1)

    for model in (Tensor(), Keyed()):
        np.testing.assert_allclose(asked(model, ONE, {"x": X})["y"], [3.0, 7.0])


def test_the_folder_of_a_saved_model_is_asked_through_its_signature(tmp_path: Path):
    module = tf.Module()
    specs = {"price": tf.TensorSpec([None, 1], tf.float64), "country": tf.TensorSpec([None], tf.int64)}
    serve = tf.function(lambda price, country: price[:, 0] + tf.cast(country, tf.float64))
    tf.saved_model.save(module, str(tmp_path), signatures=serve.get_concrete_function(**specs))
    answers = asked(tmp_path)
    assert answers["y"].dtype == np.float32
    np.testing.assert_allclose(answers["y"], SUM)


@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        (object(), Y, "has no __call__ and no serve"),
        ("nowhere", Y, "nowhere is neither the folder of a SavedModel nor a .tflite file"),
        (lambda price, speed: price, Y, "takes price, speed; features encode price, country"),
        (lambda price: {"z": price}, Y, "lacks: y; it gives z"),
        (lambda price: [price, price], Y, "gives 2 outputs without names, labels name 1: y"),
        (lambda price: [price, price], BOTH, r"output tags has the shape \(\) an instance: it has 2 labels"),
        (lambda price: tf.stack([price, price], 1), Y, r"output y has the shape \(2,\)"),
        (
            keras.Sequential([keras.Input((1,), name="speed"), keras.layers.Dense(1)]),
            Y,
            "inputs are speed; .* speed must have a feature's name",
        ),
    ],
)
def test_what_does_not_fit_is_told_by_name(model: Any, labels: Labels, message: str):
    with pytest.raises(PublishError, match=message):
        asked(model, labels=labels)
