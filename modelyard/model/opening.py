"""Opening a package: everything is verified before anything is executed.

PackageError
├── PackageMissing     there is no manifest at this address
├── PackageDamaged     a size, digest, name or document is not what the manifest says
└── PackageRefused     a format or operation that is not allowed, or answers that differ from the golden samples
"""

import hashlib
import importlib.util
import math
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from modelyard.contract.meta import Schema
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
    Sample,
    Variant,
)
from modelyard.model.encoders import Array
from modelyard.model.features import Encoder
from modelyard.model.labels import Answerer
from modelyard.model.lookup import LookupTable, open_lookup
from modelyard.model.runtime import Runtime, RuntimeProblem
from modelyard.model.signing import LARGEST_SIGNATURE, SignatureProblem, read_keys, verify_signature
from modelyard.model.storage import NotFound, Store, open_store

__all__ = ["Model", "PackageDamaged", "PackageError", "PackageMissing", "PackageRefused", "fetch_package", "open"]

#: How far an answer may be from its golden sample: other processors round differently.
TOLERANCE = 1e-3
_LARGEST_DOCUMENT = 64 << 20
_NO_TENSORFLOW = (
    "it needs TensorFlow, which is not installed here: pip install modelyard[tensorflow]; "
    "in a cluster, `runtime: TensorFlow` of the ModelServing or of the ModelCheckpoint takes the image that has it"
)

Document = TypeVar("Document", bound=Schema)


class PackageError(ValueError):
    """A package cannot be opened; the message says which file and what was expected."""


class PackageMissing(PackageError):
    """There is no package at this address."""


class PackageDamaged(PackageError):
    """The package is not what its manifest says."""


class PackageRefused(PackageError):
    """The package asks for something that is not allowed."""


class Executor:
    """Executes encoded inputs with buffers of its own: one call at a time."""

    def __init__(self, runtime: Runtime, encoder: Encoder, answerer: Answerer) -> None:
        self.runtime = runtime
        self._finish = answerer.finish
        self._order = tuple(encoder.inputs)
        self._predict_row: Callable[[Sequence[Any]], dict[str, Array]] | None = None

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute a batch, arrays of shape (batch, ...) by input name; return finished outputs."""
        return self._finish(self.runtime.predict(inputs))

    def compute_row(self, values: Sequence[Any]) -> dict[str, Array]:
        """Execute one instance as `Encoder.encode_row` gives it; return finished outputs for a batch of one."""
        if self._predict_row is None:
            self._predict_row = self.runtime.rows(self._order)
        return self._finish(self._predict_row(values))


class Model:
    """An opened package: predicts in process with the same code as the server. Safe to use from several threads."""

    def __init__(
        self, folder: Path, manifest: Manifest, digest: str, *, threads: int = 1, variant: str | None = None
    ) -> None:
        self.manifest = manifest
        self.digest = digest
        self.variant = choose_variant(manifest, variant)
        self.features = _document(folder, FEATURES, Features)
        self.labels = _document(folder, LABELS, Labels)
        self.baseline = _document(folder, BASELINE, Baseline)
        self.samples = _samples(folder)
        self.encoder = Encoder(self.features)
        self.answerer = Answerer(self.labels)
        self.lookup = _lookup(folder, self.encoder, self.labels, self.variant.name)
        """Finished outputs by the encoded instance, for those that were computed beforehand, if there are any."""
        self.runtime = _open_runtime(folder, self.variant, threads)
        self._check_names()
        self.executor = self.new_executor()
        """What `predict` uses."""
        self._one_at_a_time = threading.Lock()

    @property
    def platform(self) -> str:
        """What executes it, in the Open Inference Protocol's words."""
        return {"litert": "tensorflow_lite", "tensorflow": "tensorflow_savedmodel"}[self.variant.runtime]

    @property
    def version(self) -> str:
        """Run and step: what people call this version."""
        return f"{self.manifest.run}-{self.manifest.step}"

    def predict(self, features: Mapping[str, Any]) -> Any:
        """Return the answer to one request; raise FeatureError."""
        values = self.encoder.encode_row(features)
        outputs = self.lookup.find(values) if self.lookup is not None else None
        if outputs is None:
            with self._one_at_a_time:
                outputs = self.executor.compute_row(values)
        return self.answerer.rows(outputs)[0]

    def predict_many(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the answers to many requests, computed as one batch; raise FeatureError."""
        if not rows:
            return []
        return self.answerer.rows(self.compute(self.encoder.encode(rows)))

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute encoded inputs; return finished outputs."""
        with self._one_at_a_time:
            return self.executor.compute(inputs)

    def new_executor(self) -> Executor:
        """Return an executor of this model with buffers of its own, for a thread of its own."""
        return Executor(self.runtime.fork(), self.encoder, self.answerer)

    def verify_samples(self) -> None:
        """Replay the golden samples; raise PackageRefused if an answer differs."""
        for number, sample in enumerate(self.samples):
            try:
                answer = self.predict(sample.request)
            except ValueError as error:
                raise PackageRefused(f"{SAMPLES} line {number + 1}: the request is refused: {error}") from error
            expected = sample.response.get("variants", {}).get(self.variant.name, sample.response["answer"])
            if not _agree(answer, expected):
                raise PackageRefused(f"{SAMPLES} line {number + 1}: answered {answer}, expected {expected}")

    def _check_names(self) -> None:
        wanted = {name: (spec.dtype, spec.shape) for name, spec in self.encoder.inputs.items()}
        for name, spec in self.runtime.inputs.items():
            if wanted.get(name) != spec:
                told = f"{FEATURES} encodes {wanted.get(name)}"
                raise PackageDamaged(f"the model's input {name} is {spec}, but {told}")
        missing = {output.name for output in self.labels.outputs} - set(self.runtime.outputs)
        if missing:
            raise PackageDamaged(f"{LABELS} names outputs that the model lacks: {', '.join(sorted(missing))}")


def open(
    uri: str | os.PathLike[str],
    *,
    digest: str | None = None,
    threads: int = 1,
    variant: str | None = None,
    public_keys: str | os.PathLike[str] | None = None,
) -> Model:
    """Open the package at a URI or path; with a digest it is that package or an error.

    Without a variant the fastest is taken of those that publishing allowed. With `public_keys`, a file in PEM or a
    folder of them, the package is opened only if one of these keys signed it.
    """
    trusted = None if public_keys is None else Path(public_keys)
    with tempfile.TemporaryDirectory(prefix="modelyard-") as folder:
        store = open_store(os.fspath(uri))
        manifest, found = fetch_package(store, Path(folder), digest, variant, trusted=trusted)
        return Model(Path(folder), manifest, found, threads=threads, variant=variant)


def fetch_package(
    store: Store,
    folder: Path,
    digest: str | None = None,
    variant: str | None = None,
    *,
    trusted: Path | None = None,
) -> tuple[Manifest, str]:
    """Copy what serving needs of a package into an empty folder, verified; return manifest and digest.

    With `trusted`, public keys in a file or folder, only a package that one of them signed. Raises
    PackageError, or StorageError while the store does not answer.
    """
    try:
        text = _read_small(store, folder, MANIFEST, _LARGEST_DOCUMENT)
    except NotFound as error:
        raise PackageMissing(f"there is no package at {store.uri}: {MANIFEST} does not exist") from error
    found = f"sha256:{hashlib.sha256(text).hexdigest()}"
    if digest is not None and found != digest:
        raise PackageDamaged(f"{MANIFEST} has the digest {found}, expected {digest}")
    if trusted is not None:
        _check_signature(store, folder, text, trusted)
    manifest = _parse(MANIFEST, text, Manifest)
    chosen = choose_variant(manifest, variant)
    others = {other.path for other in manifest.variants} - {chosen.path}
    for entry in manifest.files:
        # a variant is a file, or the folder of a SavedModel
        if entry.path not in others and entry.path.partition("/")[0] not in others:
            _fetch(store, folder, entry)
    return manifest, found


def _read_small(store: Store, folder: Path, name: str, largest: int) -> bytes:
    """Return a file that nothing vouches for yet, by way of the disk: whatever its size, the memory is bounded."""
    target = folder / f".{name}"
    store.download(name, target)
    size = target.stat().st_size
    if size > largest:
        raise PackageRefused(f"{name} has {size} bytes: at most {largest} are read")
    text = target.read_bytes()
    target.unlink()
    return text


def _check_signature(store: Store, folder: Path, manifest: bytes, trusted: Path) -> None:
    try:
        keys = read_keys(trusted)
        signature = _read_small(store, folder, SIGNATURE_FILE, LARGEST_SIGNATURE)
        verify_signature(signature, manifest, keys)
    except NotFound as error:
        raise PackageRefused(f"the package is not signed: {SIGNATURE_FILE} does not exist") from error
    except SignatureProblem as error:
        raise PackageRefused(str(error)) from error


def _fetch(store: Store, folder: Path, entry: FileEntry) -> None:
    target = folder / entry.path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.download(entry.path, target)
    except NotFound as error:
        raise PackageDamaged(f"{entry.path} is in the manifest but does not exist") from error
    if target.stat().st_size != entry.size:
        raise PackageDamaged(f"{entry.path} has {target.stat().st_size} bytes, expected {entry.size}")
    with target.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != entry.sha256:
        raise PackageDamaged(f"{entry.path} has the SHA-256 {found}, expected {entry.sha256}")


def _document(folder: Path, name: str, kind: type[Document]) -> Document:
    path = folder / name
    if not path.exists():
        raise PackageDamaged(f"{name} is not in the manifest")
    return _parse(name, path.read_bytes(), kind)


def _parse(name: str, text: bytes, kind: type[Document]) -> Document:
    if len(text) > _LARGEST_DOCUMENT:
        raise PackageRefused(f"{name} has {len(text)} bytes: at most {_LARGEST_DOCUMENT} are read")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PackageDamaged(f"{name}: {where}: {first['msg']}") from error


def _samples(folder: Path) -> list[Sample]:
    path = folder / SAMPLES
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [_parse(f"{SAMPLES} line {number}", line, Sample) for number, line in enumerate(lines, 1)]


def choose_variant(manifest: Manifest, name: str | None = None) -> Variant:
    """Return the variant to execute: the named one, or the fastest that is allowed; raise PackageRefused."""
    if name is not None:
        named = next((variant for variant in manifest.variants if variant.name == name), None)
        if named is None:
            known = ", ".join(variant.name for variant in manifest.variants)
            raise PackageRefused(f"the package has no variant {name}; it has {known}")
        if not named.serve:
            raise PackageRefused(f"the variant {name} is not offered: {named.reason}")
        return named
    allowed = [variant for variant in manifest.variants if variant.serve]
    if not allowed:
        raise PackageRefused("the package offers no variant to serve")
    # what was not measured comes last, and LiteRT before TensorFlow
    return min(allowed, key=lambda variant: (variant.runtime != "litert", variant.seconds or math.inf))


def _open_runtime(folder: Path, variant: Variant, threads: int) -> Runtime:
    try:
        if variant.runtime == "litert":
            from modelyard.model.runtime.litert import LiteRT

            return LiteRT.read(folder / variant.path, threads)
        if importlib.util.find_spec("tensorflow") is None:
            raise RuntimeProblem(_NO_TENSORFLOW)
        from modelyard.model.runtime.tensorflow import TensorFlow

        return TensorFlow.read(folder / variant.path)
    except RuntimeProblem as error:
        raise PackageRefused(f"{variant.path}: {error}") from error


def _lookup(folder: Path, encoder: Encoder, labels: Labels, variant: str) -> LookupTable | None:
    try:
        return open_lookup(folder, encoder, labels, variant)
    except ValueError as error:
        raise PackageDamaged(str(error)) from error


def _agree(answer: Any, expected: Any) -> bool:
    """Compare answers: equal structure, numbers within the tolerance."""
    if isinstance(answer, Mapping) and isinstance(expected, Mapping):
        return answer.keys() == expected.keys() and all(_agree(answer[key], expected[key]) for key in answer)
    if isinstance(answer, list) and isinstance(expected, list):
        return len(answer) == len(expected) and all(map(_agree, answer, expected))
    if isinstance(answer, int | float) and isinstance(expected, int | float):
        return abs(answer - expected) <= TOLERANCE * max(1.0, abs(expected))
    return bool(answer == expected)
