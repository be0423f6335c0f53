"""Plain values beside variables: what callbacks remember, and what a loop of one's own keeps in a dict."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from modelyard.model.encoders import Array

__all__ = ["memory_of", "pack", "remind", "unpack"]

#: Stands in the JSON document for an array that is kept beside it.
_ARRAY = "__array__"
_PLAIN = (bool, int, float, str, type(None))


def pack(values: Mapping[str, Any], arrays: list[Array]) -> dict[str, Any]:
    """Return plain values as a JSON document; arrays in them are added to `arrays`. Raises TypeError for others."""
    return {str(name): _pack(value, arrays) for name, value in values.items()}


def unpack(document: Mapping[str, Any], arrays: list[Array]) -> dict[str, Any]:
    """Return what `pack` was given; tuples have become lists, NumPy's numbers Python's."""
    return {name: _unpack(value, arrays) for name, value in document.items()}


def memory_of(things: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Return what each thing has come to know, its public attributes with plain values, by its place and class."""
    return {_name(place, thing): _attributes(thing) for place, thing in enumerate(things)}


def remind(things: Iterable[Any], memory: Mapping[str, Mapping[str, Any]]) -> None:
    """Give things the attributes back that `memory_of` returned; what they are not called any more is passed over."""
    for place, thing in enumerate(things):
        for name, value in memory.get(_name(place, thing), {}).items():
            setattr(thing, name, value)


def _name(place: int, thing: Any) -> str:
    return f"{place}.{type(thing).__name__}"


def _attributes(thing: Any) -> dict[str, Any]:
    """Return what a thing has come to know: not what it was made with, nor what `fit` was called with."""
    given = {name for kind in type(thing).__mro__ for name in inspect.signature(kind).parameters} | {"params"}
    return {
        name: value
        for name, value in vars(thing).items()
        if not name.startswith("_") and name not in given and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, (*_PLAIN, np.generic)) or (isinstance(value, np.ndarray) and value.dtype != object)


def _pack(value: Any, arrays: list[Array]) -> Any:
    if isinstance(value, Mapping):
        return pack(value, arrays)
    if isinstance(value, list | tuple):
        return [_pack(item, arrays) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype != object:
        arrays.append(np.array(value))
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(
        f"a {type(value).__name__} cannot be kept in a state: expected numbers, strings, arrays, lists, dicts"
    )


def _unpack(value: Any, arrays: list[Array]) -> Any:
    if isinstance(value, Mapping):
        return arrays[value[_ARRAY]] if _ARRAY in value else unpack(value, arrays)
    return [_unpack(item, arrays) for item in value] if isinstance(value, list) else value
