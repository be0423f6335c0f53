"""What a serving's children are, whole."""

from typing import Any

from modelyard.contract.options import ServingOptions
from tests.support.golden import Golden
from tests.support.objects import checkpoint, digest_of, serving
from tests.unit.operator.serving.scene import Scene, serve


def test_the_children_of_a_followed_training_are_as_recorded(golden: Golden) -> None:
    scene = Scene(serving(), checkpoint(run="digits-1a2b3c4d"))
    golden.objects("serving/training.yaml", *scene.act().apply)


def test_the_children_of_an_address_are_as_recorded(golden: Golden) -> None:
    spec: dict[str, Any] = {
        "model": {"uri": "s3://bucket/models/1", "digest": digest_of(7)},
        "image": "registry.test/own:3",
        "storage": {"secretNames": ["bucket-keys"]},
        "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "512Mi"}},
        "nodeSelector": {"disk": "fast"},
        "rollout": {"drainSeconds": 12},
    }
    golden.objects("serving/address.yaml", *Scene(serving(**spec)).act().apply)


def test_how_the_pods_answer_is_told_them_and_who_may_ask() -> None:
    options = {
        "objective": "Throughput",
        "batching": {"maxSize": 16},
        "admission": {"deadlineMilliseconds": 50},
        "cache": {"entries": 1000},
        "lookup": False,
        "threads": 2,
        "variant": "float32",
        "monitoring": {"predictionLog": 0.5},
    }
    scene = serve(serving(**options, access={"apiKeysSecret": "keys", "tlsSecret": "certificate"}))
    service, _, deployment = scene.act().apply
    pod = deployment["spec"]["template"]["spec"]
    variables = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    assert ServingOptions.model_validate_json(variables["MODELYARD_OPTIONS"]) == ServingOptions(**options)
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert secrets[mounts[variables["MODELYARD_API_KEYS"]]] == "keys"
    assert secrets[mounts[variables["MODELYARD_TLS"]]] == "certificate"
    assert [port["port"] for port in service["spec"]["ports"]] == [443, 8500]
    assert scene.status.url == "https://digits.team.svc"


def test_a_change_of_how_the_pods_answer_is_a_revision_and_leaving_it_out_is_none() -> None:
    def name(**spec: Any) -> str:
        return serve(serving(**spec)).stable

    assert name() == name(objective="Latency", batching={}, cache={"entries": 0})
    assert len({name(), name(objective="Throughput"), name(threads=1), name(access={"apiKeysSecret": "keys"})}) == 4


def test_the_address_stands_before_there_is_a_model() -> None:
    kinds = [manifest["kind"] for manifest in Scene(serving()).act().apply]
    assert kinds == ["Service", "PodDisruptionBudget"]


def test_the_serving_revision_is_asked_for_in_full_in_every_pass() -> None:
    scene = serve(serving())
    first, second = scene.act(), scene.act()
    assert first.apply == second.apply
    assert [manifest["kind"] for manifest in first.apply] == ["Service", "PodDisruptionBudget", "Deployment"]


def test_a_lost_deployment_is_made_again() -> None:
    scene = serve(serving())
    name = scene.stable
    scene.lose(name)
    scene.act()
    assert scene.sizes == {name: 3}
    scene.settle()
    assert scene.stable == name


def test_the_keys_that_must_have_signed_are_mounted() -> None:
    for verification, source in (
        ({"configMap": "keys"}, {"configMap": {"name": "keys"}}),
        ({"secretName": "keys"}, {"secret": {"secretName": "keys", "defaultMode": 0o440}}),
    ):
        deployment = serve(serving(verification=verification)).act().apply[-1]
        pod = deployment["spec"]["template"]["spec"]
        variables = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        name = mounts[variables["MODELYARD_VERIFICATION"]]
        assert {"name": name, **source} in pod["volumes"]
