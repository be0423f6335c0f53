"""The real cluster, with Modelyard installed by `make deploy`, and a namespace that enforces restricted pods."""

import os
from collections.abc import Iterator

import pytest

from tests.support.kubectl import Kubectl, is_ready, wait_until

NAMESPACE = "end-to-end"
OPERATOR_NAMESPACE = "modelyard-system"
#: On an existing cluster there is no machine to reach into, and nothing is ever stopped.
collect_ignore = (
    ["test_stopping.py", "test_s3.py", "test_hdfs.py", "test_operator.py"] if os.environ.get("CONTEXT") else []
)


@pytest.fixture(scope="session")
def operator_namespace() -> Kubectl:
    """The namespace that the operator runs in."""
    kubectl = Kubectl.in_namespace(OPERATOR_NAMESPACE)
    kubectl("rollout", "status", "deployment/modelyard-operator", "--timeout=120s")
    return kubectl


@pytest.fixture(scope="session")
def cluster(operator_namespace: Kubectl) -> Iterator[Kubectl]:
    """A fresh namespace in which every pod must pass the restricted Pod Security Standard."""
    kubectl = operator_namespace.elsewhere(NAMESPACE)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=120s")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    kubectl("apply", "--kustomize=config/samples/storage")
    yield kubectl
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="session")
def digits(cluster: Kubectl) -> Kubectl:
    """The digits sample, trained and served on two replicas."""
    cluster("apply", "--kustomize=config/samples/digits")
    wait_until(lambda: is_ready(cluster.get("modeltraining", "digits")), 400, "modeltraining digits is ready")
    wait_until(lambda: is_ready(cluster.get("modelserving", "digits")), 120, "modelserving digits is ready")
    return cluster
