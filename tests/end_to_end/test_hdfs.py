"""The main job on a real HDFS: rows are read from it, states and packages stored to it, the model served from it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.test_bad_input import GOOD, resource, script, training
from tests.support.hdfs import HdfsServer, hdfs_server
from tests.support.kubectl import ROOT, Kubectl, condition, is_ready, local_tool, wait_until

_ROWS = 'x = np.linspace(0, 1, 64, dtype="float32")[:, None]'
_FROM_HDFS = 'x = np.loadtxt(run.path("rows"), delimiter=",", skiprows=1, dtype="float32")[:, None]'
USER = "trainer"

#: Runs beside the server: the rows, and a folder that only the trainings' user may write to.
SEED = """
import sys
import hdfs_native
from modelyard.model.storage import open_store
uri, user = sys.argv[1:]
open_store(f"{uri}/data", {}).write("rows.csv", b"x\\n" + b"".join(b"%f\\n" % (n / 63) for n in range(64)))
client = hdfs_native.Client(uri)
client.mkdirs("/models", 0o750, True)
client.set_owner("/models", user, user)
"""
LIST = """
import sys
from modelyard.model.storage import open_store
print("\\n".join(open_store(f"{sys.argv[1]}/models", {}).list("hdfs")))
"""


def inside(*command: str) -> list[str]:
    """Return what runs a command in the node's network."""
    node = ["env", f"PYTHONPATH={ROOT / 'local'}:{ROOT}", sys.executable, "-m", "modelyard_local", "exec", "--"]
    return [*node, *command]


@pytest.fixture
def server(cluster: Kubectl, tmp_path: Path):
    node = cluster.list("nodes")[0]
    [address] = [item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP"]
    assert local_tool("status")
    with hdfs_server(tmp_path, f"{address}:8020", inside()) as running:
        subprocess.run(inside(sys.executable, "-c", SEED, running.uri, USER), check=True, cwd=ROOT)
        yield running


def test_a_model_is_trained_from_hdfs_published_to_it_and_served_from_it(cluster: Kubectl, server: HdfsServer):
    assert _ROWS in GOOD
    user = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hdfs"},
        "stringData": {"HADOOP_USER_NAME": USER},
    }
    data = [{"name": "rows", "uri": f"{server.uri}/data/rows.csv"}]
    spec = {"output": {"uri": f"{server.uri}/models/hdfs"}, "data": data, "checkpointing": {"everySteps": 1}}
    cluster.apply(script("hdfs", GOOD.replace(_ROWS, _FROM_HDFS)), training("hdfs", **spec))
    # without the Secret the pods are nobody that HDFS knows
    wait_until(
        lambda: "HADOOP_USER_NAME" in condition(cluster.get("modeltraining", "hdfs"), "Ready")[2],
        60,
        "the status names the key that is missing",
    )
    storage = {"secretNames": ["hdfs"]}
    cluster.apply(user, training("hdfs", **spec, storage=storage))
    cluster.apply(resource("ModelServing", "hdfs", {"model": {"training": "hdfs"}, "replicas": 1, "storage": storage}))
    cluster("annotate", "modeltraining", "hdfs", "--overwrite", "modelyard.dev/retrain=with-the-secret")
    wait_until(lambda: is_ready(cluster.get("modelserving", "hdfs")), 200, "the model from HDFS is served")
    [answer] = cluster.predict("hdfs", "x=0.9")["predictions"]
    assert 0 < answer < 1
    listed = subprocess.run(inside(sys.executable, "-c", LIST, server.uri), check=True, capture_output=True, text=True)
    assert "/published/" in listed.stdout
    assert "/state/" in listed.stdout
