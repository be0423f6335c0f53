"""One control plane for the whole tier, with our CRDs installed."""

import time
from collections.abc import Iterator

import pytest

from tests.support.control_plane import ControlPlane
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
