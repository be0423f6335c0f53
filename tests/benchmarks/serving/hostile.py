"""`make hostile`: hostile requests over real sockets, while an ordinary client asks beside them.

Exits 1 if there was an internal error, an answer that never came, or if the server is not what it was afterwards.
Memory is read after each tenth; times are those of an ordinary client, and of the event loop's own appointments. On a
busy machine the loop is late because others have the cores; what it computed itself meanwhile tells the difference.
Results go to build/benchmarks/hostile.json.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.everything import publish_everything
from tests.support.kubectl import ROOT
from tests.support.server import Server
from tests.support.siege import siege

_PROBER = ROOT / "tests/support/prober.py"
_NAMES = {"MODELYARD_MODEL_NAME": "stays", "MODELYARD_MODEL_VERSION": "stays-3-900"}


def resident(server: Server) -> int:
    """Return the server's memory, in MB."""
    [found] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    return int(found) // 1000


def lateness(server: Server, kind: str) -> dict[str, int]:
    """Return how often the event loop was `late`, or `busy` all that time, by upper bound in seconds."""
    page = server.ask("/metrics", port=server.status)[1]
    found = re.findall(rf'loop_{kind}_seconds_bucket\{{le="(\S+?)".*?\}} (\S+)', page)
    return {bound: int(float(count)) for bound, count in found}


def attack(server: Server, count: int, seed: int) -> dict[str, Any]:
    """Attack a server, and return what was seen."""
    command = [sys.executable, str(_PROBER), str(server.http), "/v1/models/stays"]
    memory, statuses, attacks, offences, seconds = [resident(server)], Counter[int](), Counter[str](), [], 0.0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as prober:
        for part in range(10):
            seen = asyncio.run(siege(server.http, count // 10, seed + part))
            statuses += seen.statuses
            attacks += seen.attacks
            offences += seen.offences
            seconds += seen.seconds
            memory.append(resident(server))
            print(f"  {sum(attacks.values()):,} requests, {memory[-1]} MB, {len(offences)} offences", flush=True)
        times = json.loads(prober.communicate("")[0])
    status, summary, _ = server.ask("/summary", port=server.status)
    if status != 200 or summary["errors"]:
        offences.append(f"the summary afterwards: {status}, {summary and summary['errors']} errors")
    if "unexpected" in (output := server.output.read_text()) or "Traceback" in output:
        offences.append(f"the log: {output[-1000:]}")
    return {
        "seconds": seconds,
        "attacks": attacks,
        "statuses": statuses,
        "memory": memory,
        "client": {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "worst": times[-1]},
        "late": lateness(server, "late"),
        "busy": lateness(server, "busy"),
        "offences": offences,
    }


def main() -> None:
    """Attack, print and write down what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--seed", type=int, default=1, help="of what is sent (default: 1)")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelyard-hostile-")))
        server = Server(folder, publish_everything(folder).uri, **_NAMES).await_ready()
        stack.callback(server.end)
        found = attack(server, arguments.requests, arguments.seed)
    client = found["client"]
    late, busy = ({"over": kind["+Inf"] - kind["0.1"]} | kind for kind in (found["late"], found["busy"]))
    total, client_ms = sum(found["attacks"].values()), {name: 1e3 * value for name, value in client.items()}
    print(f"{total:,} hostile requests in {found['seconds']:.0f} s: {len(found['offences'])} offences")
    print(f"memory {' '.join(map(str, found['memory']))} MB")
    print("an ordinary client: p50 {p50:.1f} ms, p99 {p99:.1f}, worst {worst:.0f}".format(**client_ms))
    print(
        f"the event loop was over 100 ms late for {late['over']} of {late['+Inf']} appointments, "
        f"{busy['over']} times because it computed that long itself"
    )
    for offence in found["offences"][:20]:
        print(offence[:600])
    target = ROOT / "build/benchmarks/hostile.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=1))
    sys.exit(1 if found["offences"] else 0)


if __name__ == "__main__":
    main()
