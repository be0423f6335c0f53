"""A ModelTraining as it is applied: what the API server would say, by the contract's types and rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelyard.contract.meta import API_VERSION
from modelyard.contract.rules import RULES
from modelyard.contract.training import ModelTraining, TrainingSpec
from modelyard.training.checking.findings import Finding

__all__ = ["Manifest", "read_manifest"]

Place = tuple[str | int, ...]
_KIND = "ModelTraining"


@dataclass
class Manifest:
    """What could be read of it."""

    file: str
    spec: TrainingSpec | None = None
    """None: it is refused."""
    lines: dict[Place, int] = field(default_factory=dict)
    """Where each field stands."""

    def line(self, *place: str | int) -> int:
        """Return the line of a field, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_manifest(path: Path) -> tuple[Manifest, list[Finding]]:
    """Return the first ModelTraining of a file and what the API server would refuse in it."""
    manifest = Manifest(str(path))
    try:
        import yaml
    except ModuleNotFoundError:
        return manifest, [Finding(manifest.file, 1, "manifests cannot be read", "pip install 'modelyard[laptop]'")]
    try:
        documents = [node for node in yaml.compose_all(path.read_text(), yaml.SafeLoader) if node is not None]
        bodies = list(filter(None, yaml.safe_load_all(path.read_text())))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        return manifest, [Finding(manifest.file, line, "this is no YAML", str(error).splitlines()[0])]
    for node, body in zip(documents, bodies, strict=True):
        if isinstance(body, dict) and body.get("kind") == _KIND:
            manifest.lines = dict(_lines(node, ()))
            return manifest, sorted(_refusals(manifest, body))
    return manifest, [
        Finding(manifest.file, 1, f"there is no {_KIND} in it", f"apiVersion: {API_VERSION}, kind: {_KIND}")
    ]


def _lines(node: Any, place: Place) -> Iterator[tuple[Place, int]]:
    """Yield the place and line of every field."""
    yield place, node.start_mark.line + 1
    if node.id == "mapping":
        for key, value in node.value:
            inner = dict(_lines(value, (*place, key.value)))
            yield from (inner | {(*place, key.value): key.start_mark.line + 1}).items()
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            yield from _lines(value, (*place, number))


def _refusals(manifest: Manifest, body: dict[str, Any]) -> Iterator[Finding]:
    """Yield what the API server refuses: the version, the types, then the rules."""
    if body.get("apiVersion") != API_VERSION:
        line = manifest.line("apiVersion")
        yield Finding(manifest.file, line, f"apiVersion is {body.get('apiVersion')!r}", f"apiVersion: {API_VERSION}")
    try:
        read = ModelTraining.model_validate_json(json.dumps(body, default=str), strict=True)
    except ValidationError as error:
        for problem in error.errors():
            place = tuple(problem["loc"])
            message = str(problem["msg"]).removeprefix("Value error, ")
            yield Finding(manifest.file, manifest.line(*place), f"{_words(place)}: {message}", _fix(problem))
        return
    manifest.spec = read.spec
    # what the rules are asked about has its defaults, as in the API server
    document = {"metadata": {"name": read.metadata.name}, "spec": read.spec.document()}
    yield from _broken_rules(manifest, document)


def _fix(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "remove it, or correct its name: kubectl explain modeltraining.spec --recursive"
    if problem["type"] == "missing":
        return "add it"
    return f"it is {problem['input']!r}"


def _broken_rules(manifest: Manifest, document: dict[str, Any]) -> Iterator[Finding]:
    try:
        from cel import evaluate
    except ModuleNotFoundError:
        why = "the rules of the custom resource were not checked"
        yield Finding(manifest.file, 1, why, "pip install 'modelyard[laptop]'", refused=False)
        return
    for rule in RULES:
        if rule.kind != _KIND or "oldSelf" in rule.expression:
            continue
        for place, value in _at(document, rule.path.split(".") if rule.path else [], ()):
            if not evaluate(rule.expression, {"self": value}):
                # the rules of the whole object are about its name
                place = place or ("metadata", "name")
                what = _words(place)
                shown = f" ({value})" if isinstance(value, str) else ""
                yield Finding(manifest.file, manifest.line(*place), f"{what}{shown} breaks a rule", rule.message)


def _at(value: Any, path: list[str], place: Place) -> Iterator[tuple[Place, Any]]:
    """Yield what lies at a rule's path."""
    if not path:
        yield place, value
        return
    name = path[0].removesuffix("[]")
    if not isinstance(value, dict) or name not in value:
        return
    inner = value[name]
    items = enumerate(inner) if path[0].endswith("[]") else [(None, inner)]
    for number, item in items:
        yield from _at(item, path[1:], (*place, name) if number is None else (*place, name, number))


def _words(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
