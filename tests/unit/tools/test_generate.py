"""The generated CRDs say what the types say."""

from typing import Annotated

import pytest
from pydantic import Field

from modelyard.contract.meta import Resource, Schema
from modelyard.contract.rules import EXAMPLES, RULES
from tools.generate.crds import KINDS, definition
from tools.generate.schema import UnboundedFieldError, structural_schema

CRDS = {kind.name: definition(kind) for kind in KINDS}


def spec_of(kind: str) -> dict:
    [version] = CRDS[kind]["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


def test_every_field_is_described():
    def undescribed(node: dict, path: str):
        for name, child in node.get("properties", {}).items():
            if not child.get("description"):
                yield f"{path}.{name}"
            yield from undescribed(child.get("items", child), f"{path}.{name}")

    assert [field for kind in CRDS for field in undescribed(spec_of(kind), kind)] == []


def test_defaults_of_nested_fields_are_filled_in_by_the_server():
    rollout = spec_of("ModelServing")["properties"]["rollout"]
    assert rollout["default"] == {}
    assert rollout["properties"]["drainSeconds"]["default"] == 5


def test_free_json_is_kept():
    assert spec_of("ModelTraining")["properties"]["hyperparameters"]["x-kubernetes-preserve-unknown-fields"] is True


def test_every_rule_hangs_where_it_says_and_has_examples():
    texts = {rule.message for rule in RULES}
    hung = set()

    def collect(node: object):
        if isinstance(node, dict):
            hung.update(entry["message"] for entry in node.get("x-kubernetes-validations", []))
            for child in node.values():
                collect(child)
        elif isinstance(node, list):
            for child in node:
                collect(child)

    collect(CRDS)
    assert hung == texts
    assert all(rule.accepted and rule.refused for rule in RULES)


def test_the_smallest_examples_pass_the_types():
    for kind in KINDS:
        kind.model.read(EXAMPLES[kind.name])


def test_an_unbounded_string_is_an_error_that_names_the_field():
    class Spec(Schema):
        note: str

    class Note(Resource):
        spec: Spec

    with pytest.raises(UnboundedFieldError, match=r"spec\.note"):
        structural_schema(Note, "spec")


def test_an_unbounded_list_inside_a_bounded_map_is_an_error():
    class Spec(Schema):
        notes: Annotated[dict[str, list[int]], Field(max_length=3)]

    class Notes(Resource):
        spec: Spec

    with pytest.raises(UnboundedFieldError, match=r"spec\.notes\.\*"):
        structural_schema(Notes, "spec")
