"""The local cluster's Go parts, by Go's own test runner: network policy rules and volumes."""

import os
import subprocess

from modelyard_local.building import COMPILER_FLAGS, SOURCES


def test_the_rules_of_network_policies_and_the_volumes():
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false -trimpath"}
    command = ["go", "test", COMPILER_FLAGS, "./netpol/", "./volumes/"]
    done = subprocess.run(command, cwd=SOURCES, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
