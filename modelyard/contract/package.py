"""A model package: what training publishes and a server opens.

Files of a package, all below one prefix that is written once and never reused:

    manifest.json          this module's `Manifest`: sizes and digests of every other file, metrics, variants
    features.json          `Features`: the request schema and how each feature is encoded
    labels.json            `Labels`: the outputs and, for tags, their hierarchy
    baseline.json          `Baseline`: distributions of features and predictions on held-out data
    samples.jsonl          one `Sample` a line: golden requests with the expected answers
    lookup.json            optional, with lookup.npz: the finite domain whose answers were computed beforehand
    lookup.npz             the answers: an array for each output, the rows in the order of the axes' product
    model.sig              optional: a signature over the digests of all other files; in no manifest
    model.tflite           the LiteRT model
    saved_model/...        the portable SavedModel

The digest of a package is the SHA-256 of the bytes of `manifest.json`.
"""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from modelyard.contract.meta import MetricName, Schema

__all__ = [
    "BASELINE",
    "FEATURES",
    "FORMAT",
    "LABELS",
    "LOOKUP",
    "LOOKUP_DOMAIN",
    "MANIFEST",
    "MODEL_LITERT",
    "SAMPLES",
    "SAVED_MODEL",
    "SIGNATURE_FILE",
    "Baseline",
    "BooleanFeature",
    "BucketFeature",
    "CategoryFeature",
    "CrossFeature",
    "DateFeature",
    "DatePart",
    "Distribution",
    "Feature",
    "FeatureName",
    "Features",
    "FileEntry",
    "HashFeature",
    "ImageFeature",
    "IntegerFeature",
    "Label",
    "Labels",
    "ListFeature",
    "Lookup",
    "LookupAxis",
    "Manifest",
    "NumberFeature",
    "Output",
    "OutputKind",
    "Precision",
    "Sample",
    "TensorFeature",
    "Variant",
]

FORMAT = 1
MANIFEST = "manifest.json"
FEATURES = "features.json"
LABELS = "labels.json"
BASELINE = "baseline.json"
SAMPLES = "samples.jsonl"
LOOKUP = "lookup.npz"
LOOKUP_DOMAIN = "lookup.json"
SIGNATURE_FILE = "model.sig"
MODEL_LITERT = "model.tflite"
SAVED_MODEL = "saved_model"

FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
LabelName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
#: A relative path inside a package: no leading slash, no empty or dotted segment, no backslash.
PackagePath = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=512,
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$",
    ),
]


class _Feature(Schema):
    name: FeatureName
    """Name of the request parameter; the model's input has the same name."""
    description: Annotated[str, StringConstraints(max_length=1024)] = ""
    """What the feature means, for people."""


class NumberFeature(_Feature):
    """A real number, encoded as float32 `(value - mean) / scale`, shape `(batch,)`."""

    type: Literal["number"] = "number"
    default: float | None = None
    """Used when the request leaves the feature out; without one the feature is required."""
    minimum: float | None = None
    """Smallest accepted value; anything smaller is refused."""
    maximum: float | None = None
    """Largest accepted value; anything larger is refused."""
    mean: float = 0.0
    """Subtracted first."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Divided by afterwards, usually the standard deviation."""


class IntegerFeature(_Feature):
    """A whole number in `[minimum, maximum]`, encoded as int32 `value - minimum`, shape `(batch,)`: an index."""

    type: Literal["integer"] = "integer"
    minimum: int
    """Smallest accepted value: encodes to 0."""
    maximum: int
    """Largest accepted value: encodes to `maximum - minimum`."""
    default: int | None = None
    """Used when the request leaves the feature out."""


class BooleanFeature(_Feature):
    """True or false, encoded as float32 1 or 0, shape `(batch,)`."""

    type: Literal["boolean"] = "boolean"
    default: bool | None = None
    """Used when the request leaves the feature out."""


class CategoryFeature(_Feature):
    """A string of a vocabulary, encoded as its int32 index from 1; unknown strings encode to 0. Shape `(batch,)`."""

    type: Literal["category"] = "category"
    vocabulary: Annotated[list[Annotated[str, StringConstraints(max_length=256)]], Field(min_length=1)]
    """The known strings; the i-th (from 0) encodes to i + 1."""
    default: str | None = None
    """Used when the request leaves the feature out."""


class DatePart(StrEnum):
    """What a date is encoded to; all count from 0."""

    MONTH = "month"
    DAY = "day"
    WEEKDAY = "weekday"
    DAY_OF_YEAR = "day_of_year"


class DateFeature(_Feature):
    """An ISO 8601 date, encoded to one int32 input for each part, named `NAME_PART`, shape `(batch,)`.

    Month, day and day of year count from 0; weekday 0 is Monday.
    """

    type: Literal["date"] = "date"
    parts: Annotated[list[DatePart], Field(min_length=1)]
    """The parts the model reads."""
    default: str | None = None
    """Used when the request leaves the feature out."""


class TensorFeature(_Feature):
    """Numbers of a fixed shape (an image, a vector), encoded as float32 `value * scale + offset`, `(batch, *shape)`.

    The request gives nested lists or the flat list in row-major order.
    """

    type: Literal["tensor"] = "tensor"
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=4)]
    """Shape of one instance, without the batch dimension."""
    minimum: float | None = None
    """Smallest accepted element."""
    maximum: float | None = None
    """Largest accepted element."""
    scale: float = 1.0
    """Multiplied first."""
    offset: float = 0.0
    """Added afterwards."""


class HashFeature(_Feature):
    """Any string or whole number, encoded as an int32 bucket, shape `(batch,)`: no vocabulary is kept.

    The bucket is the first eight bytes of the SHA-256 of the UTF-8 text, little-endian, modulo `buckets`.
    """

    type: Literal["hash"] = "hash"
    buckets: Annotated[int, Field(ge=2, le=2**31 - 1)]
    """How many buckets there are; different values may share one."""
    default: str | int | None = None
    """Used when the request leaves the feature out."""


class BucketFeature(_Feature):
    """A real number, encoded as the int32 index of its interval, shape `(batch,)`.

    Index 0 is below the first boundary; a value on a boundary belongs to the interval above it.
    """

    type: Literal["bucket"] = "bucket"
    boundaries: Annotated[list[float], Field(min_length=1, max_length=10_000)]
    """Ascending; n boundaries make n + 1 intervals."""
    default: float | None = None
    """Used when the request leaves the feature out."""

    @model_validator(mode="after")
    def _boundaries_ascend(self) -> Self:
        if any(low >= high for low, high in pairwise(self.boundaries)):
            raise ValueError(f"features.{self.name}.boundaries: must ascend")
        return self


class ListFeature(_Feature):
    """Up to `length` strings, encoded as int32 indices, shape `(batch, length)`.

    The i-th string of the vocabulary (from 0) is i + 2, an unknown one is 1, and 0 fills up shorter lists.
    """

    type: Literal["list"] = "list"
    vocabulary: Annotated[list[Annotated[str, StringConstraints(max_length=256)]], Field(min_length=1)]
    """The known strings."""
    length: Annotated[int, Field(ge=1, le=4096)]
    """Most strings of one request; more are refused."""
    default: list[str] | None = None
    """Used when the request leaves the feature out."""


class ImageFeature(_Feature):
    """A picture, encoded as float32 `value * scale + offset` of values 0 to 255, `(batch, height, width, channels)`.

    The request gives the bytes of a JPEG or PNG file (base64 in JSON), which are decoded, converted to the channels
    and resized (bilinear), or the numbers themselves in the declared shape.
    """

    type: Literal["image"] = "image"
    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[1, 3] = 3
    """1: grey; 3: red, green, blue."""
    scale: float = 1.0
    """Multiplied first."""
    offset: float = 0.0
    """Added afterwards."""


class CrossFeature(_Feature):
    """The combination of encoded integer inputs, as one int32 index: row-major over their sizes. Shape `(batch,)`.

    It takes no request parameter of its own.
    """

    type: Literal["cross"] = "cross"
    of: Annotated[list[FeatureName], Field(min_length=2, max_length=4)]
    """Names of the crossed inputs: category, integer, hash and bucket features, or `NAME_PART` of a date."""


Feature = Annotated[
    NumberFeature
    | IntegerFeature
    | BooleanFeature
    | CategoryFeature
    | DateFeature
    | HashFeature
    | BucketFeature
    | ListFeature
    | TensorFeature
    | ImageFeature
    | CrossFeature,
    Field(discriminator="type"),
]


class Features(Schema):
    """The request schema of a model and the encoding of each feature, computed by the same code everywhere."""

    features: Annotated[list[Feature], Field(min_length=1, max_length=1024)]
    """In the order in which forms and documents show them."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [feature.name for feature in self.features]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"features: the names {', '.join(repeated)} are used more than once")
        return self


class OutputKind(StrEnum):
    """How an output tensor is read."""

    PROBABILITY = "probability"
    TAGS = "tags"
    REGRESSION = "regression"
    RAW = "raw"


class Label(Schema):
    """One label of an output; its parents never score below it."""

    name: LabelName
    parents: list[LabelName] = Field(default_factory=list)
    """Labels that this one implies."""


class Output(Schema):
    """One output of the model, float32 `(batch,)` or `(batch, 1)`, for tags `(batch, number of labels)`."""

    name: FeatureName
    kind: OutputKind
    labels: list[Label] = Field(default_factory=list)
    """For tags: one a column, in order. For a probability: none or the one event's name."""
    top: Annotated[int, Field(ge=1)] | None = None
    """For tags: answers name so many labels, the best first; without it all of them, in order. Tensors have all."""
    description: str = ""


class Labels(Schema):
    """The outputs of a model and what their columns mean."""

    outputs: Annotated[list[Output], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _hierarchy_is_sound(self) -> Self:
        for output in self.outputs:
            _check_hierarchy(output)
        return self


def _check_hierarchy(output: Output) -> None:
    parents = {label.name: label.parents for label in output.labels}
    if len(parents) != len(output.labels):
        raise ValueError(f"outputs.{output.name}.labels: names must be unique")
    if output.kind is OutputKind.TAGS and not parents:
        raise ValueError(f"outputs.{output.name}.labels: tags need labels")
    unknown = sorted({p for ps in parents.values() for p in ps} - parents.keys())
    if unknown:
        raise ValueError(f"outputs.{output.name}.labels: unknown parents {', '.join(unknown)}")
    settled: set[str] = set()
    while len(settled) < len(parents):
        ready = {name for name, ps in parents.items() if name not in settled and settled.issuperset(ps)}
        if not ready:
            cycle = ", ".join(sorted(parents.keys() - settled))
            raise ValueError(f"outputs.{output.name}.labels: the parents of {cycle} form a cycle")
        settled |= ready


class Distribution(Schema):
    """Where the mass of one feature or prediction lies: counts over bins, or over the most frequent categories."""

    edges: list[float] = Field(default_factory=list)
    """For numbers: n + 1 ascending bin edges; the outer bins are open."""
    categories: list[str] = Field(default_factory=list)
    """For categories: the names of the n counts; everything else counts in `other`."""
    counts: list[Annotated[int, Field(ge=0)]]
    """n counts."""
    other: Annotated[int, Field(ge=0)] = 0
    """Rows in none of the categories."""


class Baseline(Schema):
    """Distributions on held-out data, keyed by feature name and by `output` or `output.label`."""

    rows: Annotated[int, Field(ge=0)]
    """How many held-out rows were counted."""
    features: dict[str, Distribution]
    predictions: dict[str, Distribution]


class Sample(Schema):
    """A golden request and the answer that the published model gave."""

    request: dict[str, Any]
    """Feature name to raw value."""
    response: dict[str, Any]
    """`answer`: in the form of the v1 row predict: a number, label name to score for tags, or output name to these.

    `variants`: the answers of variants that differ, by name.
    """


class LookupAxis(Schema):
    """The values of one feature in the table."""

    feature: FeatureName
    values: Annotated[list[bool | int | float | str], Field(min_length=1, max_length=1_000_000)]
    """Raw values, no two encoded alike."""


class Lookup(Schema):
    """The finite domain of a lookup table: the product of its axes, the last one the fastest.

    Features that are no axis have their default.
    """

    variant: str
    """Which variant of the model computed the answers."""
    rows: Annotated[int, Field(ge=1)]
    axes: list[LookupAxis]


class FileEntry(Schema):
    """One file of a package."""

    path: PackagePath
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Precision(StrEnum):
    """Smaller forms of a model, and the names of their variants."""

    FLOAT16 = "float16"
    """Weights of 16 bits, computed in 32."""
    DYNAMIC = "dynamic"
    """Weights of 8 bits; activations are quantised as they come."""
    INT8 = "int8"
    """Weights and activations of 8 bits, their ranges taken from held-out data."""


class Variant(Schema):
    """One executable form of the model."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """For example `float32`."""
    runtime: Literal["litert", "tensorflow"]
    path: PackagePath
    """The file, or the folder of a SavedModel."""
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """What one instance took when publishing measured it; a server takes the fastest."""
    batch_seconds: Annotated[float, Field(gt=0)] | None = None
    """What an instance took in batches of 32."""
    loss: float | None = None
    """The largest change of a metric on held-out data, or the share of decisions that differ from the original's."""
    agreement: float | None = None
    """Share of decisions that are the original's."""
    difference: float | None = None
    """The largest difference of an output from the original's."""
    serve: bool = True
    """Whether a server may choose it."""
    reason: str = ""
    """Why it is not offered."""


class Manifest(Schema):
    """The root of a package: everything else is reached and verified from here."""

    format: Literal[1] = 1
    name: Annotated[str, StringConstraints(max_length=253)]
    """The training's name."""
    run: Annotated[str, StringConstraints(max_length=253)]
    step: Annotated[int, Field(ge=0)]
    metrics: dict[MetricName, float]
    """What the script measured on held-out data."""
    variants: Annotated[list[Variant], Field(min_length=1)]
    files: Annotated[list[FileEntry], Field(min_length=1, max_length=10_000)]
    """Every file but the manifest, sorted by path."""
    frameworks: dict[str, str] = Field(default_factory=dict)
    """Library name to version at publication."""
    created: str
    """RFC 3339 time of publication."""
