"""The main job with S3 in place of a claim: a real server, keys from a Secret."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.test_bad_input import resource, script, training
from tests.support.kubectl import ROOT, Kubectl, is_ready, local_tool, wait_until
from tests.support.s3 import S3Server, s3_server


@pytest.fixture
def server(cluster: Kubectl, tmp_path: Path):
    node = cluster.list("nodes")[0]
    [address] = [item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP"]
    assert local_tool("status")
    inside = ["env", f"PYTHONPATH={ROOT / 'local'}", sys.executable, "-m", "modelyard_local", "exec", "--"]
    with s3_server(tmp_path, f"{address}:7070", inside) as running:
        yield running


def test_a_model_is_published_to_s3_and_served_from_it(cluster: Kubectl, server: S3Server):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}, "stringData": server.environment}
    storage = {"secretNames": ["s3"]}
    cluster.apply(secret, script("s3"), training("s3", output={"uri": "s3://models/s3"}, storage=storage))
    cluster.apply(resource("ModelServing", "s3", {"model": {"training": "s3"}, "replicas": 1, "storage": storage}))
    wait_until(lambda: is_ready(cluster.get("modelserving", "s3")), 200, "the model from S3 is served")
    [answer] = cluster.predict("s3", "x=0.9")["predictions"]
    assert 0 < answer < 1
    markers = subprocess.run(["find", server.folder, "-path", "*published*"], capture_output=True, text=True).stdout
    assert ".json" in markers, markers
