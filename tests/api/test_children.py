"""What the operator applies, on a real API server: accepted, stable, changeable, and admitted as restricted."""

import copy
from typing import Any

import pytest

from modelyard.contract.meta import API_VERSION
from modelyard_operator.serving.manifests import resize_deployment
from modelyard_operator.training.manifests import change_job
from tests.support.control_plane import Answer, ControlPlane
from tests.support.objects import checkpoint, serving, training
from tests.unit.operator.serving.scene import serve
from tests.unit.operator.training.scene import Scene as Training
from tests.unit.operator.training.test_lifecycle import finish, start

Json = dict[str, Any]

PATHS = {
    "ConfigMap": "/api/v1/namespaces/team/configmaps",
    "Service": "/api/v1/namespaces/team/services",
    "Job": "/apis/batch/v1/namespaces/team/jobs",
    "Deployment": "/apis/apps/v1/namespaces/team/deployments",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/team/poddisruptionbudgets",
    "ModelTraining": f"/apis/{API_VERSION}/namespaces/team/modeltrainings",
    "ModelServing": f"/apis/{API_VERSION}/namespaces/team/modelservings",
    "ModelCheckpoint": f"/apis/{API_VERSION}/namespaces/team/modelcheckpoints",
}
STORAGE = {"secretNames": ["keys"]}
POD_FIELDS: Json = {
    "storage": STORAGE,
    "resources": {"requests": {"cpu": "1000m"}, "limits": {"memory": "1Gi"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
}


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """Return the control plane with a namespace that admits only restricted pods."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": labels}}
    assert control_plane.request("POST", "/api/v1/namespaces", namespace).status == 201
    return control_plane


def apply(plane: ControlPlane, manifest: Any, subresource: str = "") -> Json:
    path = f"{PATHS[manifest['kind']]}/{manifest['metadata']['name']}{subresource}?fieldManager=tester&force=true"
    answer = plane.request("PATCH", path, manifest, "application/apply-patch+yaml")
    assert answer.status in (200, 201), answer.message
    return answer.body | {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}


def test_every_child_is_accepted_and_a_second_time_changes_nothing(plane: ControlPlane) -> None:
    training_scene = Training(training(**POD_FIELDS))
    serving_scene = serve(serving(**POD_FIELDS))
    for manifest in (*training_scene.act().apply, *serving_scene.act().apply):
        first, second = apply(plane, manifest), apply(plane, manifest)
        assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"], manifest["kind"]


def test_a_live_job_is_suspended_resumed_and_given_its_time_to_live(plane: ControlPlane) -> None:
    live = apply(plane, Training(training("changing")).act().apply[1])
    for changes in ({"suspend": True}, {"suspend": False}, {"ttlSecondsAfterFinished": 60}):
        changed = apply(plane, change_job(live, **changes))
        assert {key: changed["spec"][key] for key in changes} == changes
        assert changed["spec"]["template"] == live["spec"]["template"]
        live = changed


def test_a_job_rendered_from_a_changed_spec_would_be_refused(plane: ControlPlane) -> None:
    """This is why a Job is never rendered twice."""
    job = copy.deepcopy(dict(Training(training("frozen")).act().apply[1]))
    apply(plane, job)
    job["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "2Gi"}}
    path = f"{PATHS['Job']}/{job['metadata']['name']}?fieldManager=tester&force=true"
    refused = plane.request("PATCH", path, job, "application/apply-patch+yaml")
    assert (refused.status, "field is immutable" in refused.message) == (422, True)


def test_a_live_deployment_is_resized_without_another_template(plane: ControlPlane) -> None:
    full = serve(serving("resized", **POD_FIELDS)).act().apply[-1]
    live = apply(plane, full)
    resized = apply(plane, resize_deployment(live, 1))
    assert (resized["spec"]["replicas"], resized["spec"]["template"]) == (1, live["spec"]["template"])
    again = apply(plane, full)
    assert again["spec"] == live["spec"]


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
def test_every_pod_is_admitted_where_only_restricted_ones_are(plane: ControlPlane, kind: str) -> None:
    applied = (*Training(training(**POD_FIELDS)).act().apply, *serve(serving(**POD_FIELDS)).act().apply)
    (template,) = [item["spec"]["template"] for item in applied if item["kind"] == kind]
    body = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": template["metadata"] | {"name": "probe"}}
    answer = plane.request("POST", "/api/v1/namespaces/team/pods?dryRun=All", body)
    assert answer.status == 201, answer.message


def write_status(plane: ControlPlane, kind: str, resource: Any, status: Any) -> Answer:
    """Create a resource and write its status as the operator does."""
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": resource.metadata.name}}
    apply(plane, body | {"spec": resource.spec.document()})
    path = f"{PATHS[kind]}/{resource.metadata.name}/status?fieldManager=tester-status&force=true"
    return plane.request("PATCH", path, body | {"status": status.document()}, "application/apply-patch+yaml")


def test_every_field_of_a_status_survives_the_api_server(plane: ControlPlane) -> None:
    trained = start()
    finish(trained)
    serving_scene = serve(serving("told"))
    serving_scene.publish(checkpoint("digits-2", number=2, age=1))
    serving_scene.act()
    judged = serving_scene.view.checkpoints[0]
    written = [
        ("ModelTraining", trained.view.training, trained.status),
        ("ModelServing", serving_scene.view.serving, serving_scene.status),
        ("ModelCheckpoint", judged, judged.status),
    ]
    for kind, resource, status in written:
        answer = write_status(plane, kind, resource, status)
        assert answer.status == 200, answer.message
        assert type(status).model_validate(answer.body["status"]) == status
