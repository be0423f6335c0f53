"""What of each row is given to the model, and how: the same for every kind of file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.model.encoders import Array
from modelyard.model.features import Encoder

__all__ = ["ColumnProblem", "Label", "Rows", "read_npz"]

Label = str | Sequence[str] | Mapping[str, str] | None


class ColumnProblem(ValueError):
    """A column cannot be read as it should; the message names it and the fix."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which columns are inputs and labels."""

    label: Label = None
    """A column, or the columns of several outputs: their names, or output to column."""
    columns: Sequence[str] | None = None
    """The inputs; None: those that the encoder knows, without one all but the labels."""
    types: Mapping[str, str] | None = None
    """Types of columns, where the file's own will not do."""
    encoder: Encoder | None = None
    """Makes the model's inputs of the raw columns."""

    @property
    def labels(self) -> dict[str, str]:
        """Output to column."""
        if isinstance(self.label, Mapping):
            return dict(self.label)
        names = [self.label] if isinstance(self.label, str) else self.label or []
        return {name: name for name in names}

    def inputs(self, known: Sequence[str]) -> list[str]:
        """Return the input columns of a file that has these; raise ColumnProblem if one is missing."""
        wanted = list(self.columns or ())
        if not wanted and self.encoder is not None:
            defaults = self.encoder.defaults
            wanted = [name for name in self.encoder.names if name in known or name not in defaults]
        elif not wanted:
            wanted = [name for name in known if name not in self.labels.values()]
        missing = [name for name in [*wanted, *self.labels.values(), *(self.types or {})] if name not in known]
        if missing:
            raise ColumnProblem(f"there is no column {', '.join(missing)}; there are: {', '.join(known)}")
        return wanted

    def arrays(self, known: Sequence[str], column: Callable[[str, Any], Any]) -> Any:
        """Return `x` or `(x, y)` as `fit` takes them; raise ColumnProblem or FeatureError.

        `column(name, default)` returns the raw values of a column, with `default` where there is none.
        """
        defaults = self.encoder.defaults if self.encoder else {}
        inputs = {name: column(name, defaults.get(name)) for name in self.inputs(known)}
        if self.encoder is not None:
            inputs = self.encoder.encode_columns(inputs)
        labels = {output: column(name, None) for output, name in self.labels.items()}
        if not labels:
            return inputs
        return inputs, labels[self.label] if isinstance(self.label, str) else labels


def read_npz(files: Sequence[Path], rows: Rows) -> Any:
    """Return the arrays of NPZ files, put together by name; raise ColumnProblem or FeatureError."""
    parts: dict[str, list[Array]] = {}
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            if parts and set(parts) != set(arrays):
                raise ColumnProblem(f"{file.name} holds {', '.join(arrays)}; the files before it: {', '.join(parts)}")
            for name in arrays:
                try:
                    parts.setdefault(name, []).append(arrays[name])
                except ValueError as error:
                    raise ColumnProblem(
                        f"{file.name}: {name} holds Python objects: keep text as fixed strings"
                    ) from error
    types = rows.types or {}

    def column(name: str, _: Any) -> Array:
        whole = np.concatenate(parts[name])
        return whole.astype(types[name]) if name in types else whole

    return rows.arrays(list(parts), column)
