"""Typed hyperparameters: what the manifest says, as an object of the script's own class."""

import dataclasses
import difflib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from modelyard.training.errors import ConfigurationError

__all__ = ["fields_of", "read_parameters"]

Parameters = TypeVar("Parameters")


def read_parameters(kind: type[Parameters], values: Mapping[str, Any]) -> Parameters:
    """Return an object of a dataclass or pydantic model; raise ConfigurationError for every value that does not fit."""
    fields = fields_of(kind)
    problems = []
    for name in values.keys() - fields.keys():
        close = difflib.get_close_matches(name, fields, 1)
        hint = f"did you mean {close[0]}?" if close else f"{kind.__name__} has {', '.join(fields) or 'none'}"
        problems.append(f"spec.hyperparameters.{name}: no such hyperparameter; {hint}")
    try:
        known = {name: value for name, value in values.items() if name in fields}
        read = TypeAdapter(kind).validate_json(json.dumps(known), strict=True)
    except ValidationError as error:
        problems += [_words(problem, fields) for problem in error.errors()]
    if problems:
        raise ConfigurationError("; ".join(sorted(problems)))
    return read


def fields_of(kind: type) -> dict[str, str]:
    """Return the fields of a dataclass or pydantic model with the names of their types; raise TypeError."""
    if dataclasses.is_dataclass(kind):
        return {field.name: _type_name(field.type) for field in dataclasses.fields(kind) if field.init}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {field.alias or name: _type_name(field.annotation) for name, field in kind.model_fields.items()}
    raise TypeError(f"{kind!r} is neither a dataclass nor a pydantic model")


def _type_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))


def _words(problem: Any, fields: Mapping[str, str]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    where = f"spec.hyperparameters.{place}" if place else "spec.hyperparameters"
    if problem["type"] == "missing":
        return f"{where} is missing: give {fields.get(place, 'it')}, in the manifest or with --set {place}=VALUE"
    message = str(problem["msg"])
    return f"{where} is {problem['input']!r}: {message[:1].lower()}{message[1:]}"
