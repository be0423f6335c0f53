"""Packages: published whole or not at all, verified before they are opened, the same answers everywhere."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelyard
from modelyard.contract import layout
from modelyard.contract.package import BASELINE, MANIFEST, MODEL_LITERT, SAMPLES, Output, OutputKind, Precision
from modelyard.contract.training import Optimise
from modelyard.contract.wire import Published
from modelyard.model import optimising
from modelyard.model.features import FeatureError
from modelyard.model.opening import PackageDamaged, PackageMissing, PackageRefused, fetch_package
from modelyard.model.publishing import PublishError, build_package, publish, upload_package
from tests.support.packages import (
    LABELS,
    NOW,
    change_manifest,
    copy_package,
    keras_model,
    publication,
    store,
)
from tests.support.packages import (
    SAMPLES as REQUESTS,
)


def test_a_published_package_answers_as_the_keras_model(published: Published):
    model = modelyard.open(published.uri, digest=published.digest)
    [answer] = model.predict_many(REQUESTS[:1])
    inputs = model.encoder.encode(REQUESTS[:1])
    original = keras_model()(inputs)
    assert answer["click"] == pytest.approx(float(original["click"][0, 0]), abs=1e-5)
    assert answer["tags"]["car"] == pytest.approx(float(original["tags"][0, 2]), abs=1e-5)
    assert answer["tags"]["animal"] >= answer["tags"]["dog"]
    model.verify_samples()


def test_a_package_holds_both_formats_the_baseline_and_the_samples(package: Path):
    manifest = json.loads((package / MANIFEST).read_text())
    names = {entry["path"] for entry in manifest["files"]}
    assert {"features.json", "labels.json", BASELINE, SAMPLES, MODEL_LITERT, "saved_model/saved_model.pb"} <= names
    baseline = json.loads((package / BASELINE).read_text())
    assert baseline["rows"] == 40
    assert set(baseline["features"]) == {"price", "country"}
    assert {"click", "tags.dog"} <= set(baseline["predictions"])


def test_a_batch_answers_as_its_rows(published: Published):
    model = modelyard.open(published.uri)
    rows = [{"price": float(price)} for price in range(7)]
    together = [answer["click"] for answer in model.predict_many(rows)]
    assert together == pytest.approx([model.predict(row)["click"] for row in rows], abs=1e-6)
    with pytest.raises(FeatureError, match="price"):
        model.predict({"country": "nl"})


def test_two_attempts_publish_one_package_and_both_learn_which(tmp_path: Path):
    target = store(tmp_path)
    first, second = (publish(keras_model(), publication(attempt=name), target, lambda: NOW) for name in "ab")
    assert first == second
    assert first.token == "a"
    assert target.list(layout.published_folder("clicks-1")) == [layout.published_marker("clicks-1", 7)]


def test_a_crash_before_the_marker_leaves_nothing_published(tmp_path: Path):
    target = store(tmp_path / "store")
    (tmp_path / "package").mkdir()
    build_package(keras_model(), publication(), tmp_path / "package", NOW)

    class Crash(Exception):
        pass

    for number in range(4):
        calls = iter(range(100))
        real = target.upload

        def upload(source: Path, path: str, number: int = number, calls=calls, real=real) -> None:
            if next(calls) == number:
                raise Crash
            real(source, path)

        target.upload = upload  # type: ignore[method-assign]
        with pytest.raises(Crash):
            upload_package(tmp_path / "package", publication(attempt=f"crash-{number}"), target, lambda: NOW)
        target.upload = real  # type: ignore[method-assign]
        assert target.list(layout.published_folder("clicks-1")) == []
    assert upload_package(tmp_path / "package", publication(), target, lambda: NOW).token == "pod-a"


def test_a_model_that_diverged_or_lacks_an_output_is_not_published(tmp_path: Path):
    with pytest.raises(PublishError, match="auc"):
        publish(keras_model(), publication(metrics={"auc": float("nan")}), store(tmp_path), lambda: NOW)
    more = LABELS.model_copy(update={"outputs": [*LABELS.outputs, Output(name="price", kind=OutputKind.RAW)]})
    with pytest.raises(ValueError, match="price"):
        publish(keras_model(), publication(labels=more), store(tmp_path), lambda: NOW)
    assert store(tmp_path).list("runs") == []


@pytest.fixture
def copied(package: Path, tmp_path: Path) -> Path:
    return copy_package(package, tmp_path / "copy")


def fetch(folder: Path, tmp_path: Path, digest: str | None = None) -> None:
    target = tmp_path / "target"
    target.mkdir()
    fetch_package(store(folder), target, digest)


@pytest.mark.parametrize("name", ["model.tflite", "features.json", "labels.json", "baseline.json", "samples.jsonl"])
def test_one_flipped_byte_in_any_file_is_refused_by_name(copied: Path, tmp_path: Path, name: str):
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(PackageDamaged, match=name):
        fetch(copied, tmp_path)


def test_another_manifest_than_the_pinned_one_is_refused(copied: Path, tmp_path: Path, published: Published):
    change_manifest(copied, step=8)
    with pytest.raises(PackageDamaged, match="expected sha256"):
        fetch(copied, tmp_path, published.digest)


def test_a_missing_package_and_a_missing_file_are_told(copied: Path, tmp_path: Path):
    with pytest.raises(PackageMissing, match=str(tmp_path / "nowhere")):
        fetch_package(store(tmp_path / "nowhere"), tmp_path)
    (copied / "labels.json").unlink()
    with pytest.raises(PackageDamaged, match=r"labels\.json"):
        fetch(copied, tmp_path)


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b", "a\\b", ".hidden", "a//b"])
def test_a_manifest_with_a_path_that_leaves_the_package_is_refused(copied: Path, tmp_path: Path, path: str):
    files = json.loads((copied / MANIFEST).read_text())["files"]
    change_manifest(copied, files=[*files, {"path": path, "size": 1, "sha256": "0" * 64}])
    with pytest.raises(PackageDamaged, match="files"):
        fetch(copied, tmp_path)


def test_a_file_that_is_a_link_is_refused(copied: Path, tmp_path: Path):
    (copied / "real").write_bytes((copied / "labels.json").read_bytes())
    (copied / "labels.json").unlink()
    (copied / "labels.json").symlink_to(copied / "real")
    with pytest.raises(Exception, match="link"):
        fetch(copied, tmp_path)


def test_answers_that_differ_from_the_golden_samples_are_refused(published: Published):
    model = modelyard.open(published.uri)
    wrong = model.samples[0].model_copy(update={"response": {"answer": {"click": 0.0, "tags": {}}}})
    model.samples = [wrong]
    with pytest.raises(PackageRefused, match=r"samples\.jsonl line 1"):
        model.verify_samples()


def test_the_same_training_gives_the_same_model(published: Published, tmp_path: Path):
    again = publish(keras_model(), publication(), store(tmp_path), lambda: NOW)
    one, other = (modelyard.open(uri) for uri in (published.uri, again.uri))
    row = {"price": 42.0}
    np.testing.assert_allclose(one.predict(row)["click"], other.predict(row)["click"], atol=1e-6)


def test_variants_are_measured_and_those_that_lose_too_much_are_not_offered(tmp_path: Path):
    target = store(tmp_path)
    optimise = Optimise(variants=list(Precision), max_loss=0.2)
    published = publish(keras_model(), publication(optimise=optimise), target, lambda: NOW)
    manifest = modelyard.open(published.uri).manifest
    found = {variant.name: variant for variant in manifest.variants}
    assert list(found) == ["float32", "saved-model", "float16", "dynamic", "int8"]
    assert (found["float32"].loss, found["float32"].difference) == (0.0, 0.0)
    for name in Precision:
        variant = found[name]
        assert variant.serve, variant.reason
        assert min(variant.seconds, variant.batch_seconds) > 0
        assert variant.agreement > 0.8
        assert 0 <= variant.difference < 0.1
        # its own golden answers hold, and only its file is fetched
        opened = modelyard.open(published.uri, variant=name)
        opened.verify_samples()


def test_a_variant_that_changes_a_metric_is_recorded_with_the_reason(tmp_path: Path):
    optimise = Optimise(variants=[Precision.INT8], max_loss=0.0)

    def evaluate(outputs: Mapping[str, Any]) -> dict[str, float]:
        return {"mean": float(outputs["click"].mean())}

    target = store(tmp_path)
    published = publish(keras_model(), publication(optimise=optimise, evaluate=evaluate), target, lambda: NOW)
    [variant] = [one for one in modelyard.open(published.uri).manifest.variants if one.name == "int8"]
    assert not variant.serve
    assert variant.loss > 0
    assert re.fullmatch(r"change of mean: \S+, spec.optimise.maxLoss allows 0", variant.reason)
    with pytest.raises(PackageRefused, match="is not offered: change of mean"):
        modelyard.open(published.uri, variant="int8")


def test_a_form_that_cannot_be_made_does_not_hinder_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    convert = optimising._Frozen.convert

    def fail(self: Any, precision: Any = None, examples: Any = None) -> bytes:
        if precision is not None:
            raise RuntimeError("op FlexFoo is unknown\nmore")
        return convert(self)

    monkeypatch.setattr(optimising._Frozen, "convert", fail)
    published = publish(
        keras_model(), publication(optimise=Optimise(variants=[Precision.FLOAT16])), store(tmp_path), lambda: NOW
    )
    [variant] = [one for one in modelyard.open(published.uri).manifest.variants if one.name == "float16"]
    assert (variant.serve, variant.reason) == (False, "LiteRT cannot make it: op FlexFoo is unknown")
