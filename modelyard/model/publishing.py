"""Publishing a package: every file under a prefix that is used once, then the manifest, then one create-once marker.

A reader that sees the marker sees a whole package; a crash anywhere before leaves none.
"""

import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract import layout
from modelyard.contract.package import (
    BASELINE,
    FEATURES,
    LABELS,
    MANIFEST,
    SAMPLES,
    Baseline,
    Features,
    FileEntry,
    Labels,
    Manifest,
    OutputKind,
    Sample,
    Variant,
)
from modelyard.contract.training import Optimise
from modelyard.contract.wire import Published
from modelyard.model.comparing import Evaluate, Original, compare
from modelyard.model.encoders import Array
from modelyard.model.features import Encoder
from modelyard.model.opening import Model
from modelyard.model.optimising import ORIGINAL, export_model
from modelyard.model.sketches import describe_column, describe_numbers
from modelyard.model.storage import Store

__all__ = ["Publication", "PublishError", "publish"]

#: How far the LiteRT model's outputs may be from the Keras model's.
TOLERANCE = 1e-3
_CHECKED_ROWS = 256
_BATCH = 1024
_FRAMEWORKS = ("modelyard", "tensorflow", "tensorflow-cpu", "keras", "numpy", "ai-edge-litert")


class PublishError(ValueError):
    """A model cannot be published; the message names what is wrong and the fix."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published, and as what."""

    name: str
    run: str
    step: int
    attempt: str
    """Unique to this attempt: no two ever write under the same prefix."""
    features: Features
    labels: Labels
    metrics: Mapping[str, float]
    holdout: Mapping[str, Sequence[Any] | Array]
    """Raw columns that training did not see, for the baseline and the comparison of formats."""
    samples: Sequence[Mapping[str, Any]]
    """Raw requests whose answers are kept and replayed before a server gets traffic."""
    optimise: Optimise = field(default_factory=Optimise)
    """Which variants are made, and what they may cost."""
    evaluate: Evaluate | None = None
    """Metrics of finished outputs on the holdout: what a variant must not change by more than allowed."""


def publish(model: Any, publication: Publication, store: Store, now: Callable[[], datetime]) -> Published:
    """Make the package of a Keras model and publish it; return the marker that stands, ours or an earlier one's.

    Raises PublishError, FeatureError or StorageError; then nothing is published.
    """
    with tempfile.TemporaryDirectory(prefix="modelyard-package-") as name:
        folder = Path(name)
        build_package(model, publication, folder, now())
        return upload_package(folder, publication, store, now)


def build_package(model: Any, publication: Publication, folder: Path, now: datetime) -> None:
    """Write every file of the package into an empty folder, the manifest last."""
    encoder = Encoder(publication.features)
    inputs = encoder.encode_columns(publication.holdout)
    _check_metrics(publication.metrics)
    variants = export_model(model, encoder.inputs, folder, publication.optimise.variants, inputs)
    _write(folder, FEATURES, publication.features)
    _write(folder, LABELS, publication.labels)
    _write(folder, BASELINE, Baseline(rows=0, features={}, predictions={}))
    unmeasured = _manifest(publication, variants, [], now)
    opened = Model(folder, unmeasured, "", variant=ORIGINAL)
    outputs = _predict_all(opened, inputs)
    _compare(model, inputs, outputs, opened)
    _write(folder, BASELINE, _baseline(publication, outputs))
    original = Original(inputs, outputs, publication.evaluate, publication.optimise.max_loss)
    measured, answers = [], {}
    for variant in variants:
        if variant.runtime == "litert" and variant.serve:
            opened = Model(folder, unmeasured, "", variant=variant.name)
            variant = compare(opened, _predict_all(opened, inputs), original)
            answers[variant.name] = opened.predict_many(list(publication.samples))
        measured.append(variant)
    (folder / SAMPLES).write_text("".join(f"{line}\n" for line in _samples(publication, answers)))
    _write(folder, MANIFEST, _manifest(publication, measured, _entries(folder), now))


def _samples(publication: Publication, answers: Mapping[str, list[Any]]) -> list[str]:
    """Return a line for each golden request: the original's answer, and those of the other variants."""
    lines = []
    for place, request in enumerate(publication.samples):
        others = {name: given[place] for name, given in answers.items() if name != ORIGINAL}
        response = {"answer": answers[ORIGINAL][place], **({"variants": others} if others else {})}
        lines.append(Sample(request=dict(request), response=response).model_dump_json(by_alias=True))
    return lines


def upload_package(folder: Path, publication: Publication, store: Store, now: Callable[[], datetime]) -> Published:
    """Upload a finished package and publish it with one create-once marker."""
    prefix = layout.attempt_prefix(publication.run, publication.step, publication.attempt)
    manifest = (folder / MANIFEST).read_bytes()
    for entry in Manifest.model_validate_json(manifest).files:
        store.upload(folder / entry.path, f"{prefix}/{entry.path}")
    store.upload(folder / MANIFEST, f"{prefix}/{MANIFEST}")
    published = Published(
        step=publication.step,
        uri=layout.join(store.uri, prefix),
        digest=f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        metrics=dict(publication.metrics),
        token=publication.attempt,
        created=now().isoformat(),
    )
    marker = layout.published_marker(publication.run, publication.step)
    if store.create_once(marker, json.dumps(published.document()).encode()):
        return published
    return Published.model_validate_json(store.read(marker))


def _check_metrics(metrics: Mapping[str, float]) -> None:
    bad = [name for name, value in metrics.items() if not np.isfinite(value)]
    if bad:
        raise PublishError(f"metrics {', '.join(bad)} are not finite: training diverged, nothing is published")


def _predict_all(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    rows = len(next(iter(inputs.values())))
    parts = [
        model.compute({name: values[start : start + _BATCH] for name, values in inputs.items()})
        for start in range(0, rows, _BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _compare(keras_model: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array], opened: Model) -> None:
    """Refuse a conversion whose outputs are not the Keras model's."""
    few = {name: values[:_CHECKED_ROWS] for name, values in inputs.items()}
    original = {name: np.asarray(value) for name, value in keras_model(few, training=False).items()}
    missing = {output.name for output in opened.labels.outputs} - original.keys()
    if missing:
        raise PublishError(f"labels name outputs that the model lacks: {', '.join(sorted(missing))}")
    for name, values in opened.answerer.finish(original).items():
        difference = float(np.max(np.abs(values - outputs[name][:_CHECKED_ROWS])))
        if not difference <= TOLERANCE:
            raise PublishError(f"output {name}: the LiteRT model differs from the Keras model by {difference:g}")


def _baseline(publication: Publication, outputs: Mapping[str, Array]) -> Baseline:
    features = {
        name: describe_column(publication.features, name, values) for name, values in publication.holdout.items()
    }
    predictions = {}
    for output in publication.labels.outputs:
        if output.kind is OutputKind.TAGS:
            for column, label in enumerate(output.labels):
                predictions[f"{output.name}.{label.name}"] = describe_numbers(outputs[output.name][:, column])
        elif output.kind is not OutputKind.RAW:
            predictions[output.name] = describe_numbers(outputs[output.name])
    rows = len(next(iter(publication.holdout.values())))
    return Baseline(rows=rows, features=features, predictions=predictions)


def _manifest(publication: Publication, variants: list[Variant], files: list[FileEntry], now: datetime) -> Manifest:
    # while the package is being made there is nothing to list yet
    listed = files or [FileEntry(path=FEATURES, size=0, sha256="0" * 64)]
    return Manifest(
        name=publication.name,
        run=publication.run,
        step=publication.step,
        metrics=dict(publication.metrics),
        variants=variants,
        files=listed,
        frameworks=_versions(),
        created=now.isoformat(),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _FRAMEWORKS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _entries(folder: Path) -> list[FileEntry]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        FileEntry(
            path=path.relative_to(folder).as_posix(),
            size=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in files
    ]


def _write(folder: Path, name: str, document: Any) -> None:
    (folder / name).write_text(document.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n")
