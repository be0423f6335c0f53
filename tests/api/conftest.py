"""What the whole tier shares: a control plane with our CRDs installed, two packages and their servers."""

import time
from collections.abc import Iterator

import pytest

from modelyard.contract.wire import Published
from tests.support.control_plane import ControlPlane
from tests.support.server import Server
from tools.generate.crds import KINDS, definition


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        for kind in KINDS:
            _install(plane, definition(kind))
        yield plane
    finally:
        plane.stop()


def _install(plane: ControlPlane, crd: dict) -> None:
    """Create a CRD and wait until the API server serves it; every condition it sets must be a good one."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    created = plane.request("POST", path, crd)
    assert created.status == 201, created.message
    deadline = time.monotonic() + 20
    while True:
        status = plane.request("GET", f"{path}/{crd['metadata']['name']}").body.get("status", {})
        conditions = {c["type"]: (c["status"], c.get("message", "")) for c in status.get("conditions") or []}
        assert "NonStructuralSchema" not in conditions, conditions
        if conditions.get("Established", ("", ""))[0] == "True":
            break
        assert time.monotonic() < deadline, conditions
        time.sleep(0.05)
    served = f"/apis/{crd['spec']['group']}/v1alpha1/namespaces/default/{crd['spec']['names']['plural']}"
    while plane.request("GET", served).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="session")
def stays(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A package with a feature of every type and an output of every kind."""
    from tests.support.everything import publish_everything

    return publish_everything(tmp_path_factory.mktemp("stays"))


@pytest.fixture(scope="session")
def stays_server(stays: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    names = {"MODELYARD_MODEL_NAME": "stays", "MODELYARD_MODEL_VERSION": "stays-3-900"}
    running = Server(tmp_path_factory.mktemp("stays-server"), stays.uri, stays.digest, **names).await_ready()
    yield running
    assert running.end() == 0


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    from tests.support.packages import publish_small

    return publish_small(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def server(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"), published.uri, published.digest).await_ready()
    yield running
    assert running.end() == 0
