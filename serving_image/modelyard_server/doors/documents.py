"""JSON in and out, shared by the doors."""

import base64
import binascii
import json
from typing import Any

import orjson

from modelyard_server.asking import Answer, Reply, RequestError

__all__ = ["decode_base64", "dump", "parse_json", "reply", "timed"]

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def parse_json(body: bytes | memoryview) -> dict[str, Any]:
    """Return the body's JSON object, bare NaN and Infinity included; raise RequestError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _parse_lenient(bytes(body), error)
    if not isinstance(document, dict):
        raise RequestError("the body must be a JSON object")
    return document


def _parse_lenient(body: bytes, error: ValueError) -> Any:
    """Parse what TensorFlow Serving's clients may send though it is no JSON: bare NaN and Infinity."""
    if b"NaN" not in body and b"Infinity" not in body:
        raise RequestError(f"the body is no JSON: {error}") from error
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as again:
        raise RequestError(f"the body is no JSON: {again}") from again


def decode_base64(text: str) -> bytes:
    """Return the bytes; raise ValueError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"no base64: {error}") from error


def dump(document: Any) -> bytes:
    """Return JSON; float32 arrays get the shortest digits that name their values."""
    return orjson.dumps(document, option=_OPTIONS)


def reply(document: Any, status: int = 200) -> Reply:
    """Return a JSON reply."""
    return Reply(orjson.dumps(document, option=_OPTIONS), status)


def timed(document: Any, answer: Answer) -> Reply:
    """Return a JSON reply that says what went into the answer."""
    return Reply(orjson.dumps(document, option=_OPTIONS), answer=answer)
