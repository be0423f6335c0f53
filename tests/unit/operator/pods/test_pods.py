"""Parts of pod templates."""

from typing import Any

import pytest

from modelyard.contract.pods import Resources, Scheduling, Storage
from modelyard_operator.outcome import Manifest
from modelyard_operator.pods import claims_of, compute, env_from, fingerprint, scheduling, volumes_of
from tests.support.objects import checkpoint, serving, training
from tests.unit.operator.serving.scene import Scene as Serving
from tests.unit.operator.training.scene import Scene as Training


def pod_specs() -> list[Manifest]:
    applied = (*Training(training()).act().apply, *Serving(serving(), checkpoint()).act().apply)
    return [item["spec"]["template"]["spec"] for item in applied if "template" in item.get("spec", {})]


@pytest.mark.parametrize("spec", pod_specs(), ids=["training", "serving"])
def test_every_pod_passes_the_restricted_standard(spec: dict[str, Any]) -> None:
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] != 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert {key for volume in spec["volumes"] for key in volume} <= {
        "name",
        "emptyDir",
        "configMap",
        "persistentVolumeClaim",
    }
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("spec", pod_specs(), ids=["training", "serving"])
def test_no_pod_holds_a_token_of_the_api(spec: dict[str, Any]) -> None:
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("spec", pod_specs(), ids=["training", "serving"])
def test_every_pod_has_a_place_to_write(spec: dict[str, Any]) -> None:
    (container,) = spec["containers"]
    assert {"name": "scratch", "mountPath": "/tmp"} in container["volumeMounts"]
    assert {"name": "HOME", "value": "/tmp"} in container["env"]


def test_claims_are_named_once_in_order() -> None:
    uris = ["pvc://b/x", "s3://bucket/y", "pvc://a/z", "pvc://b/other"]
    assert claims_of(uris) == ["b", "a"]


def test_claims_are_read_only_unless_written_to() -> None:
    volumes, mounts = volumes_of(["a", "b"], writable=["b"])
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in volumes[1:]] == ["a", "b"]
    assert mounts[1:] == [
        {"name": "claim-0", "mountPath": "/mnt/pvc/a", "readOnly": True},
        {"name": "claim-1", "mountPath": "/mnt/pvc/b"},
    ]


def test_a_missing_secret_holds_the_pod_back() -> None:
    assert env_from(Storage(secret_names=["keys"])) == {"envFrom": [{"secretRef": {"name": "keys", "optional": False}}]}


def test_empty_parts_are_left_out() -> None:
    assert env_from(Storage()) == {}
    assert compute(Resources()) == {}
    assert scheduling(Scheduling(), Storage()) == {"automountServiceAccountToken": False}


def test_a_fingerprint_is_of_the_content_not_of_the_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"b": [1, 2]}) != fingerprint({"b": [2, 1]})
    assert len(fingerprint({}, 16)) == 16
