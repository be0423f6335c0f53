"""The API reference page, from the same schemas as the CRDs."""

from collections.abc import Iterator
from typing import Any

from modelyard.contract.meta import API_VERSION
from tools.generate.crds import KINDS, Kind, definition

__all__ = ["reference_page"]


def reference_page() -> str:
    """Return docs/reference.md."""
    head = [
        "# API reference",
        "",
        f"Generated from the types in `modelyard/contract` by `make generate`. Every kind is `{API_VERSION}`.",
        "",
    ]
    return "\n".join([*head, *(line for kind in KINDS for line in _kind_lines(kind))]).rstrip() + "\n"


def _kind_lines(kind: Kind) -> Iterator[str]:
    crd = definition(kind)
    [version] = crd["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]
    columns = ", ".join(
        c["name"] + (" (wide)" if c.get("priority") else "") for c in version["additionalPrinterColumns"]
    )
    yield from (f"## {kind.name}", "", root["description"], "")
    yield from (f"`kubectl get {kind.plural}` (short name `{kind.short}`): {columns}.", "")
    rules = list(_rules(root, ""))
    if rules:
        yield from ("Refused at `kubectl apply`:", "", *(f"- {message}" for message in dict.fromkeys(rules)), "")
    for part in ("spec", "status"):
        yield from (f"### {kind.name} {part}", "", "| field | type | default | meaning |", "| --- | --- | --- | --- |")
        yield from _field_lines(root["properties"][part], part)
        yield ""


def _rules(node: dict[str, Any], path: str) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", []):
        where = f"`{path}`: " if path else ""
        yield where + rule["message"]
    for name, child in node.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}".lstrip("."))
    if "items" in node:
        yield from _rules(node["items"], f"{path}[]")


def _field_lines(node: dict[str, Any], path: str) -> Iterator[str]:
    required = node.get("required", [])
    for name, child in node.get("properties", {}).items():
        field = f"{path}.{name}"
        yield f"| `{field}` | {_type(child)} | {_default(child, name in required)} | {_meaning(child)} |"
        yield from _field_lines(child.get("items", child), field + ("[]" if "items" in child else ""))


def _type(node: dict[str, Any]) -> str:
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return "free JSON"
    if "items" in node:
        return f"list of {_type(node['items'])}"
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}"
    return str(node.get("type", "any"))


def _default(node: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = node.get("default")
    return "" if default in (None, {}) else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _meaning(node: dict[str, Any]) -> str:
    words = " ".join(str(node.get("description", "")).split()).replace("|", "\\|")
    if "enum" in node:
        words += " One of " + ", ".join(f"`{value}`" for value in node["enum"]) + "."
    bounds = [f"{word} {node[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in node]
    return f"{words} ({', '.join(bounds)})" if bounds else words
