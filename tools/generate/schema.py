"""From a pydantic model to a structural OpenAPI v3 schema, as a CustomResourceDefinition wants it."""

from typing import Any

from modelyard.contract.meta import Resource

__all__ = ["UnboundedFieldError", "structural_schema"]

Schema = dict[str, Any]

#: What a structural schema does not know or does not need.
_DROPPED = frozenset({"title", "propertyNames", "discriminator"})


class UnboundedFieldError(ValueError):
    """A string, list or map of the contract has no upper bound; the message names the field."""


def structural_schema(model: type[Resource], part: str) -> Schema:
    """Return the schema of `spec` or `status` of a resource, references resolved, every size bounded."""
    document = model.model_json_schema(by_alias=True)
    return _convert(document["properties"][part], document["$defs"], part)


def _convert(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    node = _resolve(node, definitions)
    node = {key: value for key, value in node.items() if key not in _DROPPED}
    if node.get("default", ...) is None:
        del node["default"]
    if node.get("type") == "object":
        node = _convert_object(node, definitions, path)
    elif node.get("type") == "array":
        node["items"] = _convert(node["items"], definitions, f"{path}[]")
    _check_bounds(node, path)
    return node


def _resolve(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Follow a reference and unwrap an optional; what stands beside the reference wins."""
    if "anyOf" in node:
        [inner] = [option for option in node["anyOf"] if option.get("type") != "null"]
        beside = {key: value for key, value in node.items() if key != "anyOf"}
        return _resolve({**inner, **beside}, definitions)
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return {**target, **beside, **_joined_description(target, beside)}
    return node


def _joined_description(target: Schema, beside: Schema) -> Schema:
    """Let a group of fields say what the field is and what the type says of itself."""
    words = [node["description"] for node in (beside, target) if "description" in node]
    return {"description": " ".join(words)} if words else {}


def _convert_object(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    additional = node.pop("additionalProperties", None)
    # a map whose keys have a pattern: CRDs bound the values only
    for values in node.pop("patternProperties", {}).values():
        additional = values
    if additional is True:
        node["x-kubernetes-preserve-unknown-fields"] = True
    elif isinstance(additional, dict):
        node["additionalProperties"] = _convert(additional, definitions, f"{path}.*")
    if "properties" in node:
        children = node["properties"]
        node["properties"] = {
            name: _with_object_default(
                _convert(child, definitions, f"{path}.{name}"),
                optional=name not in node.get("required", []) and not _may_be_null(child),
            )
            for name, child in children.items()
        }
    return node


def _may_be_null(node: Schema) -> bool:
    """Return whether a field that is left out stays so: for such a group, absent and empty are not the same."""
    return any(option.get("type") == "null" for option in node.get("anyOf", []))


def _with_object_default(child: Schema, *, optional: bool) -> Schema:
    """Let an optional group of fields default to {} when something inside it has a default, so that it is filled."""
    inside = child.get("properties", {})
    if optional and not child.get("required") and any("default" in field for field in inside.values()):
        return {**child, "default": {}}
    return child


def _check_bounds(node: Schema, path: str) -> None:
    kind = node.get("type")
    if kind == "string" and not {"maxLength", "enum", "format", "const"} & node.keys():
        raise UnboundedFieldError(f"{path}: a string without max_length")
    if kind == "array" and "maxItems" not in node:
        raise UnboundedFieldError(f"{path}: a list without max_length")
    is_map = "additionalProperties" in node
    if is_map and "maxProperties" not in node:
        raise UnboundedFieldError(f"{path}: a map without max_length")
