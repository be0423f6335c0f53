"""The lookup table: answers for a finite domain, computed when the package is published.

The domain is a product: a list of values for each of some features, while all others keep their default. A request's
place in the product is a sum of one small number for each feature, so the table holds the answers and no keys:
a million rows of one output are 4 MB.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from modelyard.contract.package import (
    LOOKUP,
    LOOKUP_DOMAIN,
    BooleanFeature,
    BucketFeature,
    CategoryFeature,
    CrossFeature,
    DateFeature,
    Feature,
    IntegerFeature,
    Labels,
    Lookup,
    LookupAxis,
)
from modelyard.model.encoders import Array, encoder_for
from modelyard.model.features import Encoder, FeatureError
from modelyard.model.sources import PublishError

__all__ = ["LARGEST_TABLE", "Declared", "LookupTable", "declare_lookup", "open_lookup", "write_lookup"]

#: Names of features whose whole domain is meant, or the values of each.
Declared = Sequence[str] | Mapping[str, Sequence[Any] | None]
Outputs = dict[str, Array]
Compute = Callable[[Sequence[Any]], Outputs]
#: Most rows of a table.
LARGEST_TABLE = 1_000_000
_LARGEST_BYTES = 1 << 30
#: Every combination of month, day, weekday and leap year occurs in these years.
_YEARS = (date(1972, 1, 1), date(2000, 1, 1))


class LookupTable:
    """Answers by encoded instance."""

    def __init__(self, domain: Lookup, outputs: Outputs, encoder: Encoder) -> None:
        self._outputs = tuple(outputs.items())
        self._axes = tuple(_places(domain, encoder))

    def __len__(self) -> int:
        return len(self._outputs[0][1])

    def find(self, values: Sequence[Any]) -> Outputs | None:
        """Return the finished outputs for what `Encoder.encode_row` gave, or None."""
        row = 0
        try:
            for read, offsets in self._axes:
                row += offsets[read(values)]
        except (KeyError, TypeError):
            return None
        return {name: array[row : row + 1] for name, array in self._outputs}


def declare_lookup(declared: Declared, encoder: Encoder, variant: str) -> Lookup:
    """Return the domain that a script declares; raise PublishError."""
    features = {feature.name: feature for feature in encoder.features.features}
    given = declared if isinstance(declared, Mapping) else dict.fromkeys(declared)
    for name in encoder.names:
        if name in encoder.takes_lists:
            raise PublishError(f"lookup: {name} is a {features[name].type}: a table needs features of one value")
    axes = []
    for name, values in given.items():
        feature = features.get(name)
        if feature is None or isinstance(feature, CrossFeature):
            raise PublishError(f"lookup: there is no feature {name} that a request gives")
        axes.append(LookupAxis(feature=name, values=_values(feature) if values is None else _plain(values)))
    for name in encoder.names:
        if name not in given and getattr(features[name], "default", None) is None:
            raise PublishError(f"lookup: {name} has no default: give its values, lookup={{{name!r}: [...]}}")
    rows = math.prod(len(axis.values) for axis in axes)
    if not 0 < rows <= LARGEST_TABLE:
        sizes = " * ".join(f"{axis.feature} ({len(axis.values):,})" for axis in axes) or "no features"
        raise PublishError(f"lookup: {sizes} make {rows:,} rows; between 1 and {LARGEST_TABLE:,} are kept")
    domain = Lookup(variant=variant, rows=rows, axes=axes)
    try:
        list(_places(domain, encoder))
    except FeatureError as error:
        raise PublishError(f"lookup: {error}") from error
    return domain


def write_lookup(folder: Path, domain: Lookup, encoder: Encoder, compute_row: Compute) -> None:
    """Compute every row, as a server computes a single instance, and write the table."""
    names = [axis.feature for axis in domain.axes]
    rows = product(*(axis.values for axis in domain.axes))
    outputs: Outputs = {}
    for row, values in enumerate(rows):
        answer = compute_row(encoder.encode_row(dict(zip(names, values, strict=True))))
        for name, value in answer.items():
            if name not in outputs:
                outputs[name] = np.empty((domain.rows, *value.shape[1:]), np.float32)
            outputs[name][row] = value[0]
    (folder / LOOKUP_DOMAIN).write_text(domain.model_dump_json(by_alias=True) + "\n")
    np.savez(folder / LOOKUP, **outputs)  # type: ignore[arg-type]


def open_lookup(folder: Path, encoder: Encoder, labels: Labels, variant: str) -> LookupTable | None:
    """Return the package's table if it has one, made with this variant of the model; raise ValueError."""
    if not (folder / LOOKUP).exists():
        return None
    try:
        domain = Lookup.model_validate_json((folder / LOOKUP_DOMAIN).read_bytes())
        if domain.rows != math.prod(len(axis.values) for axis in domain.axes) or domain.rows > LARGEST_TABLE:
            raise ValueError(f"{domain.rows} rows are not what the axes make")
        if domain.variant != variant:
            return None
        _check_size(folder / LOOKUP)
        with (folder / LOOKUP).open("rb") as stream, np.load(stream, allow_pickle=False) as table:
            outputs = {output.name: table[output.name] for output in labels.outputs}
        if any(len(values) != domain.rows or values.dtype != np.float32 for values in outputs.values()):
            raise ValueError(f"it has not {domain.rows} rows of float32")
        return LookupTable(domain, outputs, encoder)
    except (ValueError, KeyError, OSError, EOFError, BadZipFile, MemoryError) as error:
        raise ValueError(f"{LOOKUP_DOMAIN}, {LOOKUP}: {error}") from error


def _check_size(path: Path) -> None:
    """Refuse an archive that unpacks to more than any table has."""
    with ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _LARGEST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes: at most {_LARGEST_BYTES:,} are read")


def _places(domain: Lookup, encoder: Encoder) -> Iterator[tuple[Callable[[Sequence[Any]], Any], dict[Any, int]]]:
    """Yield how a feature is read off an encoded instance, and what each of its values adds to the row's number.

    The keys are what the encoder itself makes of the values, so they are what it makes of a request. Raises
    PublishError if two values are encoded alike, FeatureError if one is refused.
    """
    order = {name: place for place, name in enumerate(encoder.inputs)}
    features = {feature.name: feature for feature in encoder.features.features}
    base = {axis.feature: axis.values[0] for axis in domain.axes}
    defaults = encoder.encode_row(base)
    stride = domain.rows
    for axis in domain.axes:
        stride //= len(axis.values)
        read = itemgetter(*(order[name] for name in encoder_for(features.pop(axis.feature)).inputs))
        offsets: dict[Any, int] = {}
        for number, value in enumerate(axis.values):
            key = read(encoder.encode_row(base | {axis.feature: value}))
            if key in offsets:
                raise PublishError(f"lookup: {axis.feature}: {value!r} is encoded as another value is")
            offsets[key] = number * stride
        yield read, offsets
    for feature in features.values():
        # crosses follow from the others
        if not isinstance(feature, CrossFeature):
            read = itemgetter(*(order[name] for name in encoder_for(feature).inputs))
            yield read, {read(defaults): 0}


def _values(feature: Feature) -> list[Any]:
    """Return the values of a feature's whole domain, one for each way in which they are encoded."""
    if isinstance(feature, CategoryFeature):
        unknown = "?"
        while unknown in feature.vocabulary:
            unknown += "?"
        return [*feature.vocabulary, unknown]
    if isinstance(feature, BooleanFeature):
        return [False, True]
    if isinstance(feature, IntegerFeature) and feature.maximum - feature.minimum < LARGEST_TABLE:
        return list(range(feature.minimum, feature.maximum + 1))
    if isinstance(feature, BucketFeature):
        return [feature.boundaries[0] - 1.0, *feature.boundaries]
    if isinstance(feature, DateFeature):
        return _dates(feature)
    raise PublishError(
        f"lookup: a {feature.type} has no finite domain: lookup={{{feature.name!r}: [...]}} lists values"
    )


def _dates(feature: DateFeature) -> list[str]:
    encoder = encoder_for(feature)
    first, days = _YEARS[0], (_YEARS[1] - _YEARS[0]).days
    texts = [(first + timedelta(days=day)).isoformat() for day in range(days)]
    parts = np.stack(list(encoder.encode(texts).values()), axis=1)
    _, places = np.unique(parts, axis=0, return_index=True)
    return [texts[place] for place in sorted(places)]


def _plain(values: Sequence[Any]) -> list[Any]:
    """Return them as JSON has them: numpy's scalars among them."""
    return [value.item() if isinstance(value, np.generic) else value for value in values]
