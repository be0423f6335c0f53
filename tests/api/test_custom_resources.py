"""The CRDs on a real API server: what it refuses, with which words; defaults, columns, scale, explain."""

import json

import pytest

from modelyard.contract.meta import API_VERSION
from modelyard.contract.rules import EXAMPLES, RULES, Rule
from modelyard.contract.serving import ModelServing
from modelyard.contract.training import ModelTraining
from tests.support.control_plane import Answer, ControlPlane
from tests.support.objects import merge
from tools.generate.crds import KINDS

PLURALS = {kind.name: kind.plural for kind in KINDS}


def path_of(kind: str, name: str = "") -> str:
    return f"/apis/{API_VERSION}/namespaces/default/{PLURALS[kind]}" + (f"/{name}" if name else "")


def create(plane: ControlPlane, kind: str, patch: dict, *, dry_run: bool = True) -> Answer:
    document = merge({"apiVersion": API_VERSION, "kind": kind, **EXAMPLES[kind]}, patch)
    return plane.request("POST", path_of(kind) + ("?dryRun=All" if dry_run else ""), document)


CREATION_RULES = [rule for rule in RULES if "oldSelf" not in rule.expression]


@pytest.mark.parametrize("rule", CREATION_RULES, ids=lambda rule: f"{rule.kind}.{rule.path}: {rule.message[:40]}")
def test_a_rule_accepts_and_refuses_its_examples(control_plane: ControlPlane, rule: Rule):
    for patch in rule.accepted:
        answer = create(control_plane, rule.kind, patch)
        assert answer.status == 201, (patch, answer.message)
    for patch in rule.refused:
        answer = create(control_plane, rule.kind, patch)
        assert (answer.status, rule.message in answer.message) == (422, True), (patch, answer.message)


def test_the_spec_of_a_checkpoint_never_changes(control_plane: ControlPlane):
    [rule] = [rule for rule in RULES if "oldSelf" in rule.expression]
    name = EXAMPLES["ModelCheckpoint"]["metadata"]["name"]
    assert create(control_plane, "ModelCheckpoint", {}, dry_run=False).status == 201
    merge_patch = "application/merge-patch+json"
    for patch in rule.refused:
        answer = control_plane.request("PATCH", path_of("ModelCheckpoint", name), patch, merge_patch)
        assert (answer.status, rule.message in answer.message) == (422, True)
    for patch in rule.accepted:
        assert control_plane.request("PATCH", path_of("ModelCheckpoint", name), patch, merge_patch).status == 200


@pytest.mark.parametrize(
    ("kind", "patch", "words"),
    [
        ("ModelServing", {"spec": {"replicas": -1}}, "spec.replicas"),
        ("ModelServing", {"spec": {"replicas": "three"}}, "spec.replicas"),
        ("ModelServing", {"spec": {"model": {"training": "Not_A_Name"}}}, "spec.model.training"),
        ("ModelTraining", {"spec": {"output": {"uri": "ftp://host/x"}}}, "spec.output.uri"),
        ("ModelTraining", {"spec": {"output": None}}, "spec.output"),
        ("ModelTraining", {"spec": {"resources": {"limits": {"memory": "lots"}}}}, "spec.resources.limits.memory"),
        ("ModelCheckpoint", {"spec": {"digest": "sha256:12"}}, "spec.digest"),
    ],
)
def test_a_mistake_is_refused_with_the_name_of_the_field(control_plane: ControlPlane, kind, patch, words):
    answer = create(control_plane, kind, patch)
    assert (answer.status, words in answer.message) == (422, True), answer.message


def test_the_server_fills_in_the_defaults_of_the_types(control_plane: ControlPlane):
    serving = create(control_plane, "ModelServing", {}).body
    training = create(control_plane, "ModelTraining", {}).body
    assert ModelServing.read(serving).spec == ModelServing.read(EXAMPLES["ModelServing"]).spec
    assert ModelTraining.read(training).spec == ModelTraining.read(EXAMPLES["ModelTraining"]).spec
    assert serving["spec"]["rollout"]["drainSeconds"] == 5
    assert training["spec"]["checkpointing"]["everySeconds"] == 60


def test_free_hyperparameters_survive(control_plane: ControlPlane):
    free = {"layers": [64, 32], "optimizer": {"name": "adam", "rate": 0.001}, "augment": True}
    answer = create(control_plane, "ModelTraining", {"spec": {"hyperparameters": free}})
    assert answer.body["spec"]["hyperparameters"] == free


def test_an_unknown_field_is_refused_by_strict_validation(control_plane: ControlPlane):
    document = merge({"apiVersion": API_VERSION, "kind": "ModelServing", **EXAMPLES["ModelServing"]}, {})
    document["spec"]["replica"] = 3
    answer = control_plane.request("POST", path_of("ModelServing") + "?fieldValidation=Strict&dryRun=All", document)
    assert (answer.status, 'unknown field "spec.replica"' in answer.message) == (400, True)


def test_scale_reads_and_sets_the_replicas(control_plane: ControlPlane):
    assert create(control_plane, "ModelServing", {"metadata": {"name": "scaled"}}, dry_run=False).status == 201
    control_plane.kubectl("scale", "modelserving", "scaled", "--replicas=5")
    body = control_plane.request("GET", path_of("ModelServing", "scaled") + "/scale").body
    assert body["spec"]["replicas"] == 5


def test_columns_and_short_names_show_what_people_look_for(control_plane: ControlPlane):
    for kind in KINDS:
        header = control_plane.kubectl("get", kind.short, "--output", "wide", "--ignore-not-found")
        table = control_plane.kubectl("get", "--raw", path_of(kind.name))
        assert json.loads(table)["kind"] == f"{kind.name}List"
        expected = ["NAME", *(column.name for column in kind.columns)]
        assert not header or header.splitlines()[0].split() == expected


def test_explain_reads_like_documentation(control_plane: ControlPlane):
    text = " ".join(control_plane.kubectl("explain", "modelserving.spec.rollout").split())
    assert "Ready pods never fall below `replicas`" in text
    assert "progressDeadlineSeconds <integer>" in text
    assert "is rejected; the old one goes on serving" in text
