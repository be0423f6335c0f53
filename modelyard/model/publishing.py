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
from modelyard.contract.meta import ModelRuntime
from modelyard.contract.package import (
    BASELINE,
    FEATURES,
    LABELS,
    MANIFEST,
    SAMPLES,
    SIGNATURE_FILE,
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
from modelyard.model.litert_files import adopt_litert
from modelyard.model.lookup import Declared, declare_lookup, write_lookup
from modelyard.model.opening import Model, PackageDamaged, PackageRefused, choose_variant
from modelyard.model.optimising import ORIGINAL, ORIGINAL_SAVED, export_model
from modelyard.model.signing import sign_package
from modelyard.model.sketches import describe_column, describe_numbers
from modelyard.model.sources import PublishError, Source, check_shapes, is_litert_file
from modelyard.model.storage import Store

__all__ = ["Publication", "PublishError", "publish"]

#: How far a form's outputs may be from the model's.
TOLERANCE = 1e-3
_CHECKED_ROWS = 256
_BATCH = 1024
_RUNTIMES = {"litert": ModelRuntime.LITERT, "tensorflow": ModelRuntime.TENSORFLOW}
_FRAMEWORKS = ("modelyard", "tensorflow", "tensorflow-cpu", "keras", "numpy", "ai-edge-litert")


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
    signing_key: bytes | None = None
    """A private key in PEM: the package is signed with it."""
    lookup: Declared | None = None
    """Features whose answers are computed beforehand, or the values of each; the others keep their defaults."""


def publish(model: Any, publication: Publication, store: Store, now: Callable[[], datetime]) -> Published:
    """Make the package of a model and publish it; return the marker that stands, ours or an earlier one's.

    What may be published is in `sources.py`. Raises PublishError, FeatureError or StorageError; then nothing is
    published.
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
    domain = None if publication.lookup is None else declare_lookup(publication.lookup, encoder, ORIGINAL)
    answered, variants = _export(model, publication, encoder, inputs, folder)
    _write(folder, FEATURES, publication.features)
    _write(folder, LABELS, publication.labels)
    _write(folder, BASELINE, Baseline(rows=0, features={}, predictions={}))
    forms = _Forms(folder, _manifest(publication, variants, [], now))
    opened = forms.open_original()
    check_shapes(publication.labels, opened.runtime.predict({name: values[:1] for name, values in inputs.items()}))
    outputs = _predict_all(opened, inputs)
    if answered is not None:
        _compare(opened, outputs, answered)
    _write(folder, BASELINE, _baseline(publication, outputs))
    original = Original(inputs, outputs, publication.evaluate, publication.optimise.max_loss)
    answers = forms.measure(original, publication.samples)
    (folder / SAMPLES).write_text("".join(f"{line}\n" for line in _samples(publication, answers)))
    if domain is not None:
        served = forms.open(choose_variant(_manifest(publication, forms.variants, [], now)).name)
        answered_by = domain.model_copy(update={"variant": served.variant.name})
        write_lookup(folder, answered_by, encoder, served.executor.compute_row)
    _write(folder, MANIFEST, _manifest(publication, forms.variants, _entries(folder), now))


def _export(
    model: Any, publication: Publication, encoder: Encoder, inputs: Mapping[str, Array], folder: Path
) -> tuple[Mapping[str, Array] | None, list[Variant]]:
    """Write the model's forms; return what itself answers to the first rows, and the forms.

    A LiteRT file is its own form: there is nothing to compare it with.
    """
    precisions = publication.optimise.variants
    if is_litert_file(model):
        return None, adopt_litert(model, encoder.inputs, publication.labels, folder, precisions)
    source = Source(model, encoder.inputs, publication.labels)
    answered = source.outputs({name: values[:_CHECKED_ROWS] for name, values in inputs.items()})
    return answered, export_model(source, encoder.inputs, folder, precisions, inputs)


class _Forms:
    """The forms of a model in the package's folder: each is opened as a server will, and measured."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self.variants = list(manifest.variants)
        self.original = ORIGINAL

    def open(self, name: str) -> Model:
        """Open a form; raise PackageRefused."""
        return Model(self._folder, self._manifest, "", variant=name)

    def open_original(self) -> Model:
        """Open the form that the others are measured against, LiteRT's if there is one; raise PublishError."""
        for place, variant in enumerate(self.variants):
            if variant.name in (ORIGINAL, ORIGINAL_SAVED) and variant.serve:
                try:
                    opened = self.open(variant.name)
                except PackageRefused as error:
                    self.variants[place] = _not_served(variant, error)
                except PackageDamaged as error:
                    raise PublishError(str(error)) from error
                else:
                    self.original = variant.name
                    return opened
        reasons = (f"{variant.name}: {variant.reason}" for variant in self.variants if variant.reason)
        raise PublishError(f"no form of the model can be served: {'; '.join(reasons)}")

    def measure(self, original: Original, samples: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Measure every form that may be served; return the answers to the samples by form, the original's first."""
        answers: dict[str, list[Any]] = {self.original: []}
        for place, variant in enumerate(self.variants):
            if not variant.serve:
                continue
            try:
                opened = self.open(variant.name)
            except PackageRefused as error:
                self.variants[place] = _not_served(variant, error)
                continue
            self.variants[place] = compare(opened, _predict_all(opened, original.inputs), original)
            answers[variant.name] = opened.predict_many(list(samples))
        return answers


def _not_served(variant: Variant, error: PackageRefused) -> Variant:
    return variant.model_copy(update={"serve": False, "reason": str(error)[:1000]})


def _samples(publication: Publication, answers: Mapping[str, list[Any]]) -> list[str]:
    """Return a line for each golden request: the original's answer, and those of the other variants."""
    original, *others = answers.items()
    lines = []
    for place, request in enumerate(publication.samples):
        told = {name: given[place] for name, given in others}
        response = {"answer": original[1][place], **({"variants": told} if told else {})}
        lines.append(Sample(request=dict(request), response=response).model_dump_json(by_alias=True))
    return lines


def upload_package(folder: Path, publication: Publication, store: Store, now: Callable[[], datetime]) -> Published:
    """Upload a finished package and publish it with one create-once marker."""
    prefix = layout.attempt_prefix(publication.run, publication.step, publication.attempt)
    text = (folder / MANIFEST).read_bytes()
    manifest = Manifest.model_validate_json(text)
    signature = sign_package(manifest, text, key) if (key := publication.signing_key) is not None else None
    for entry in manifest.files:
        store.upload(folder / entry.path, f"{prefix}/{entry.path}")
    store.upload(folder / MANIFEST, f"{prefix}/{MANIFEST}")
    if signature is not None:
        store.write(f"{prefix}/{SIGNATURE_FILE}", signature)
    published = Published(
        step=publication.step,
        uri=layout.join(store.uri, prefix),
        digest=f"sha256:{hashlib.sha256(text).hexdigest()}",
        metrics=dict(publication.metrics),
        runtime=_RUNTIMES[choose_variant(manifest).runtime],
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


def _compare(opened: Model, outputs: Mapping[str, Array], answered: Mapping[str, Array]) -> None:
    """Refuse a conversion whose outputs are not the model's."""
    for name, values in opened.answerer.finish(answered).items():
        difference = float(np.max(np.abs(values - outputs[name][:_CHECKED_ROWS])))
        if not difference <= TOLERANCE:
            raise PublishError(
                f"output {name}: the form {opened.variant.name} differs from the model by {difference:g}"
            )


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
