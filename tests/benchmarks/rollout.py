"""`make bench-rollout`: a million requests over keep-alive connections while the service is replaced, again and again.

Needs wrk, and the digits sample as `make demo` leaves it. wrk asks the Service's address from the node's network; every
20 seconds the serving gets a new revision. Nothing but 200 is an answer: other statuses, broken connections and
time-outs all count as failed.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = [sys.executable, "-m", "modelyard_local"]
PERIOD = 20.0


def told(*command: str) -> str:
    """Run a command and return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def main() -> None:
    """Ask, replace, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=110, help="how long to ask (default: 110)")
    parser.add_argument("--connections", type=int, default=16, help="keep-alive connections (default: 16)")
    arguments = parser.parse_args()
    kubectl = [told(*LOCAL, "kubectl"), f"--kubeconfig={told(*LOCAL, 'kubeconfig')}"]
    address = told(*kubectl, "get", "service", "digits", "--output=jsonpath={.spec.clusterIP}")
    query = (ROOT / "config/samples/digits/request.txt").read_text().strip()
    generator = ["wrk", "-t1", f"-c{arguments.connections}", f"-d{arguments.seconds}s", "--timeout", "10s", "--latency"]
    asking = subprocess.Popen(
        [*LOCAL, "exec", "--", *generator, f"http://{address}/v1/models/digits:predict?{query}"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    revisions = 0
    ends = time.monotonic() + arguments.seconds - PERIOD / 2
    while time.monotonic() + PERIOD / 2 < ends:
        time.sleep(PERIOD / 2)
        change = f"modelyard.dev/restart={time.time_ns()}"
        told(*kubectl, "annotate", "modelserving", "digits", change, "--overwrite")
        revisions += 1
        time.sleep(PERIOD / 2)
    output, _ = asking.communicate()
    [requests] = re.findall(r"(\d+) requests in", output)
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", output)))
    failed += sum(sum(map(int, re.findall(r"\d+", line))) for line in re.findall(r"Socket errors: (.*)", output))
    [p99] = re.findall(r"99%\s+(\S+)", output)
    print(f"{int(requests):,} requests through {revisions} revisions, {failed} failed; p99 {p99}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
