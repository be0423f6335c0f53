"""What all encoders share: the interface, and the checks of raw columns."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST",
    "LONG",
    "REAL",
    "Array",
    "ColumnEncoder",
    "ColumnError",
    "EncodeOne",
    "EncodeText",
    "Values",
    "are_reals",
    "by_distinct",
    "check_bounds",
    "check_strings",
    "least",
    "most",
    "range_words",
    "reals",
    "show",
    "single",
]

Array = NDArray[Any]
Values = Sequence[Any] | Array
EncodeOne = Callable[[Any, list[Any]], None]
EncodeText = Callable[[str, list[Any]], None]
#: Columns longer than this are encoded by their distinct values.
LONG = 64
REAL = (int, float)
_PLAIN_REALS, _PLAIN_STRINGS = frozenset(REAL), frozenset((str,))
#: The largest float32.
LARGEST = float(np.finfo(np.float32).max)


class ColumnError(ValueError):
    """A value does not fit its feature; the message says what is expected."""


class ColumnEncoder(Protocol):
    """What every feature type knows to do."""

    inputs: dict[str, tuple[str, tuple[int, ...]]]
    """Input name to dtype and shape of one instance."""
    sizes: dict[str, int]
    """Number of indices of each int32 input."""
    default: Any
    """Raw value of a feature that is left out, or None."""
    expects: str
    """What a value must be, in words."""
    takes_lists: bool
    """Whether a value is a list."""
    takes_bytes: bool
    """Whether a value may be the bytes of a file."""

    def encode(self, values: Values) -> dict[str, Array]:
        """Encode a column; raise ColumnError."""

    @property
    def encode_one(self) -> EncodeOne:
        """Appends the same for one value: a scalar, or an array of one instance's shape, for each of `inputs`.

        It is the fast way of single requests: what is not plainly right raises ColumnError, and `encode` says why.
        """

    @property
    def encode_text(self) -> EncodeText:
        """Appends the same for the text of one query parameter; KeyError or ValueError if it is not plainly right."""

    def parse(self, texts: list[str]) -> Any:
        """Return the raw value of query parameters; raise ColumnError."""


def single(texts: list[str], expects: str) -> str:
    """Return the one text; raise ColumnError if there are more."""
    if len(texts) != 1:
        raise ColumnError(f"given {len(texts)} times; {expects}")
    return texts[0]


def show(value: Any) -> str:
    """Return a value for a message, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def reals(values: Values, expects: str) -> Array:
    """Return float64 values; booleans, strings, NaN and infinities are refused."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iuf":
            raise ColumnError(f"a column of {values.dtype}; {expects}")
        array: Array = values.astype(np.float64)
    else:
        if not are_reals(values):
            for value in values:
                if type(value) not in REAL and not isinstance(value, np.integer | np.floating):
                    raise ColumnError(f"{show(value)}; {expects}")
        try:
            array = np.array(values, dtype=np.float64)
        except OverflowError as error:
            raise ColumnError(f"a number too large; {expects}") from error
    if not np.isfinite(array).all():
        raise ColumnError(f"NaN or infinite; {expects}")
    return array


def are_reals(values: Sequence[Any]) -> bool:
    """Return whether all values are plain numbers of Python."""
    return _PLAIN_REALS.issuperset(map(type, values))


def check_bounds(array: Array, minimum: float | None, maximum: float | None, expects: str) -> None:
    """Raise ColumnError if a value is out of bounds."""
    if minimum is not None and array.size and array.min() < minimum:
        raise ColumnError(f"{array.min():g} is below {minimum:g}; {expects}")
    if maximum is not None and array.size and array.max() > maximum:
        raise ColumnError(f"{array.max():g} is above {maximum:g}; {expects}")


def least(minimum: float | None) -> float:
    """Return the bound, or minus infinity."""
    return -math.inf if minimum is None else minimum


def most(maximum: float | None) -> float:
    """Return the bound, or infinity."""
    return math.inf if maximum is None else maximum


def range_words(minimum: float | None, maximum: float | None) -> str:
    """Return the bounds in words."""
    if minimum is not None and maximum is not None:
        return f" from {minimum:g} to {maximum:g}"
    if minimum is not None:
        return f" of at least {minimum:g}"
    return f" of at most {maximum:g}" if maximum is not None else ""


def by_distinct(values: Values, encode_one: Callable[[Any], Any]) -> Array:
    """Encode strings one by one, or a long column by its distinct values."""
    if len(values) <= LONG:
        return np.array([encode_one(value) for value in values])
    distinct, places = np.unique(np.asarray(values, dtype=object).astype(str), return_inverse=True)
    encoded: Array = np.array([encode_one(value) for value in distinct.tolist()])[places]
    return encoded


def check_strings(values: Values, expects: str) -> None:
    """Raise ColumnError unless the values are strings."""
    if isinstance(values, list) and _PLAIN_STRINGS.issuperset(map(type, values)):
        return
    for value in values if len(values) <= LONG or not isinstance(values, np.ndarray) else values[:LONG]:
        if not isinstance(value, str):
            raise ColumnError(f"{show(value)}; {expects}")
