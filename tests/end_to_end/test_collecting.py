"""Retention on the real cluster: old packages leave the claim, and what is kept or pinned stays whole."""

from tests.end_to_end.test_bad_input import resource, script, training
from tests.support.kubectl import Kubectl, is_ready, wait_until

LIST = """
import json, pathlib
top = pathlib.Path("/mnt/pvc/models/kept/runs")
print(json.dumps(sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())))
"""


def publish(cluster: Kubectl, number: int) -> dict:
    """Train with another hyperparameter; return the checkpoint, once its Job is gone."""
    known = {item["metadata"]["name"] for item in cluster.list("modelcheckpoints", "modelyard.dev/training=kept")}
    spec = {"hyperparameters": {"number": number}, "retention": {"keep": 1, "minAgeSeconds": 0}}
    cluster.apply(training("kept", **spec, ttlSecondsAfterFinished=2))

    def fresh() -> dict | None:
        items = cluster.list("modelcheckpoints", "modelyard.dev/training=kept")
        return next((item for item in items if item["metadata"]["name"] not in known), None)

    made = wait_until(fresh, 150, f"run {number} publishes")
    wait_until(lambda: is_ready(cluster.get("modeltraining", "kept")), 60, f"run {number} passes")
    return made


def test_the_newest_packages_and_the_pinned_one_stay_and_the_others_go(cluster: Kubectl):
    cluster.apply(script("kept"))
    pinned = publish(cluster, 1)
    model = {"uri": pinned["spec"]["uri"], "digest": pinned["spec"]["digest"]}
    cluster.apply(resource("ModelServing", "kept", {"model": model, "replicas": 1}))
    old, *newer = [publish(cluster, number) for number in (2, 3, 4)]

    def collected() -> int:
        return cluster.get("modeltraining", "kept")["status"].get("retention", {}).get("collected", 0)

    wait_until(lambda: collected() == 1, 240, "the old package is collected")
    names = {item["metadata"]["name"] for item in cluster.list("modelcheckpoints", "modelyard.dev/training=kept")}
    assert names == {item["metadata"]["name"] for item in (pinned, *newer)}
    wait_until(lambda: is_ready(cluster.get("modelserving", "kept")), 60, "the pinned package is served")
    [pod] = cluster.list("pods", "modelyard.dev/serving=kept")
    found = cluster("exec", pod["metadata"]["name"], "--", "python3", "-c", LIST)
    for item in (pinned, *newer):
        folder = item["spec"]["uri"].partition("/runs/")[2]
        assert f"{folder}/manifest.json" in found
        assert f"{item['spec']['run']}/published/{item['spec']['step']}.json" in found
    assert f"{old['spec']['run']}/attempts" not in found
    assert f"{old['spec']['run']}/published" not in found
    status = cluster.get("modeltraining", "kept")["status"]["retention"]
    assert status["message"].startswith("1 packages"), status
    cluster("delete", "modelserving/kept", "--wait=false")
