"""What a training's children are, whole."""

from typing import Any

from modelyard_operator.outcome import ScriptContent
from modelyard_operator.training.children import plan_children
from modelyard_operator.training.run import observe_current
from modelyard_operator.training.trigger import pull_trigger
from tests.support.golden import Golden
from tests.support.objects import NOW, training
from tests.unit.operator.training.scene import Scene

FULL: dict[str, Any] = {
    "script": {"configMap": "digits-script", "file": "digits.py"},
    "module": None,
    "hyperparameters": {"epochs": 5, "layers": [64, 32]},
    "data": [
        {"name": "images", "uri": "pvc://datasets/digits"},
        {"name": "more", "uri": "pvc://models/more"},
        {"name": "remote", "uri": "s3://bucket/rows"},
    ],
    "storage": {"secretNames": ["bucket-keys"], "serviceAccountName": "trainer"},
    "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
    "gate": {"metrics": [{"name": "accuracy", "floor": 0.9}]},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "priorityClassName": "low",
    "activeDeadlineSeconds": 3600,
    "seed": 7,
}


def test_a_run_with_a_script_is_as_recorded(golden: Golden) -> None:
    scene = Scene(training(**FULL), script=ScriptContent("print('hello')\n"))
    golden.objects("training/script.yaml", *scene.act().apply)


def test_a_run_of_a_command_is_as_recorded(golden: Golden) -> None:
    scene = Scene(training(module=None, command=["/train", "--fast"], output={"uri": "s3://bucket/models"}))
    golden.objects("training/command.yaml", *scene.act().apply)


def test_a_run_of_several_processes_is_as_recorded(golden: Golden) -> None:
    distribution = {"workers": 2, "strategy": "ParameterServer", "parameterServers": 1, "evaluator": True}
    scene = Scene(training(distribution=distribution))
    golden.objects("training/distributed.yaml", *scene.act().apply)


def test_the_config_map_comes_before_the_job() -> None:
    kinds = [manifest["kind"] for manifest in Scene(training()).act().apply]
    assert kinds == ["ConfigMap", "Job"]


def test_changed_limits_and_resources_wait_for_the_next_run() -> None:
    scene = Scene(training())
    scene.act()
    scene.change(resources={"limits": {"memory": "2Gi"}}, backoffLimit=9, gate={"metrics": [{"name": "a", "floor": 1}]})
    outcome = scene.act()
    assert outcome.apply == ()
    assert outcome.delete == ()


def test_a_lost_config_map_is_made_again_while_the_run_goes_on() -> None:
    scene = Scene(training())
    scene.act()
    scene.see(configs=())
    assert [manifest["kind"] for manifest in scene.act().apply] == ["ConfigMap"]


def test_a_plan_depends_on_the_view_alone() -> None:
    view = Scene(training()).view
    trigger = pull_trigger(view)
    current = observe_current(view, trigger, NOW)
    assert plan_children(view, trigger, current) == plan_children(view, trigger, current)


def test_the_signing_key_is_mounted_for_the_run_alone() -> None:
    _, job = Scene(training(signing={"secretName": "signing", "key": "ec.pem"})).act().apply
    pod = job["spec"]["template"]["spec"]
    variables = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    folder, _, name = str(variables["MODELYARD_SIGNING_KEY"]).rpartition("/")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts[folder]]["secret"] == {"secretName": "signing", "defaultMode": 0o440}
    assert name == "ec.pem"
