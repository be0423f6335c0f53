"""Hostile requests over real sockets: a few thousand here, a hundred thousand with `make hostile`."""

from tests.benchmarks.serving.hostile import attack, resident
from tests.support.server import Server


def test_hostile_requests_end_in_no_internal_error_and_the_server_goes_on(stays_server: Server):
    found = attack(stays_server, 4000, 7)
    assert found["offences"] == []
    assert sum(found["attacks"].values()) == 4000
    assert {200, 400, 413} <= set(found["statuses"])
    assert found["busy"]["+Inf"] == found["busy"]["0.1"], "the event loop computed for over 100 ms"
    assert resident(stays_server) < 500
