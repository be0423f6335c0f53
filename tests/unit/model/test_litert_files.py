"""LiteRT files from elsewhere: taken as they are, their inputs and outputs given the right names."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import modelyard
from modelyard.contract.package import MODEL_LITERT, Labels, Precision
from modelyard.contract.training import Optimise
from modelyard.contract.wire import Published
from modelyard.model.publishing import PublishError, publish
from tests.support.packages import LABELS, NOW, SAMPLES, publication, store


@pytest.fixture
def file(package: Path) -> Path:
    return package / MODEL_LITERT


def changed(file: Path, target: Path, change: Any) -> Path:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes(), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return target


def foreign(model: Any) -> None:
    """As other converters write it: one signature, and names of their own."""
    [signature] = [one for one in model.signatureDefs if one.signatureKey == b"serving_default"]
    signature.signatureKey = b"main"
    # the feature's order, whatever the file's was
    signature.inputs.sort(key=lambda entry: [b"price", b"country"].index(entry.name))
    signature.outputs.sort(key=lambda entry: [b"click", b"tags"].index(entry.name))
    for place, entry in enumerate(signature.inputs):
        entry.name = f"args_{place}".encode()
    for place, entry in enumerate(signature.outputs):
        entry.name = f"output_{place}".encode()
    model.signatureDefs = [signature]


def test_a_file_with_the_right_names_is_published_byte_by_byte(file: Path, published: Published, tmp_path: Path):
    again = publish(str(file), publication(optimise=Optimise(variants=[Precision.INT8])), store(tmp_path), lambda: NOW)
    assert (Path(again.uri) / MODEL_LITERT).read_bytes() == file.read_bytes()
    one, other = modelyard.open(published.uri), modelyard.open(again.uri)
    assert one.predict_many(SAMPLES) == other.predict_many(SAMPLES)
    [float32, int8] = other.manifest.variants
    assert (float32.serve, int8.serve) == (True, False)
    assert "was made from a LiteRT file" in int8.reason


def test_a_file_with_other_names_is_given_those_of_features_and_labels(
    file: Path, published: Published, tmp_path: Path
):
    renamed = changed(file, tmp_path / "foreign.tflite", foreign)
    again = modelyard.open(publish(renamed, publication(), store(tmp_path), lambda: NOW).uri)
    expected = modelyard.open(published.uri).predict_many(SAMPLES)
    np.testing.assert_allclose(
        [row["click"] for row in again.predict_many(SAMPLES)], [row["click"] for row in expected]
    )


def test_a_file_without_a_signature_is_known_by_its_tensors(file: Path, published: Published, tmp_path: Path):
    def forget(model: Any) -> None:
        model.signatureDefs = []

    bare = changed(file, tmp_path / "bare.tflite", forget)
    # outputs without names come in the order of the file
    labels = Labels(outputs=LABELS.outputs[::-1])
    model = modelyard.open(publish(bare, publication(labels=labels), store(tmp_path), lambda: NOW).uri)
    expected = modelyard.open(published.uri).predict_many(SAMPLES)
    np.testing.assert_allclose(
        [row["click"] for row in model.predict_many(SAMPLES)], [row["click"] for row in expected]
    )


def test_a_file_whose_inputs_or_outputs_come_in_another_order_is_refused(file: Path, tmp_path: Path):
    def swap(model: Any, what: str) -> None:
        foreign(model)
        entries = getattr(model.signatureDefs[0], what)
        entries.reverse()
        for place, entry in enumerate(entries):
            entry.name = f"{what}_{place}".encode()

    swapped = changed(file, tmp_path / "swapped.tflite", lambda model: swap(model, "inputs"))
    with pytest.raises(PublishError, match=r"input country is .*float32.* encodes .*int32"):
        publish(swapped, publication(), store(tmp_path), lambda: NOW)
    swapped = changed(file, tmp_path / "swapped.tflite", lambda model: swap(model, "outputs"))
    with pytest.raises(PublishError, match=r"output click has the shape \(3,\) an instance"):
        publish(swapped, publication(), store(tmp_path), lambda: NOW)


def test_a_file_that_does_not_fit_is_told_what_is_missing(file: Path, tmp_path: Path):
    renamed = changed(file, tmp_path / "foreign.tflite", foreign)
    one = Labels(outputs=LABELS.outputs[:1])
    with pytest.raises(PublishError, match="the file gives output_0, output_1; labels name click"):
        publish(renamed, publication(labels=one), store(tmp_path), lambda: NOW)
    with pytest.raises(PublishError, match="No such file"):
        publish(tmp_path / "no.tflite", publication(), store(tmp_path), lambda: NOW)

    def customise(model: Any) -> None:
        model.operatorCodes[0].customCode = b"FlexReadFile"

    with pytest.raises(PublishError, match="custom operations, which are not allowed: FlexReadFile"):
        publish(changed(file, tmp_path / "flex.tflite", customise), publication(), store(tmp_path), lambda: NOW)
    (tmp_path / "text.tflite").write_text("not a model")
    with pytest.raises(PublishError, match="not a LiteRT model"):
        publish(tmp_path / "text.tflite", publication(), store(tmp_path), lambda: NOW)
