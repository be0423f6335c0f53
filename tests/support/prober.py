"""An ordinary client beside hostile ones: `prober.py PORT PATH` asks every 5 ms, prints its times at the end of input.

Times are in seconds, sorted; a request without a 200 counts as infinite.
"""

import http.client
import json
import os
import sys
import threading
import time

PERIOD = 0.005


def main(port: int, path: str) -> list[float]:
    times: list[float] = []
    ends = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ends.set()), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    while not ends.is_set():
        started = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - started if answer.status == 200 else float("inf"))
        time.sleep(PERIOD)
    return sorted(times)


if __name__ == "__main__":
    # on a busy machine its own waiting for a core must not be taken for the server's
    if os.geteuid() == 0:
        os.nice(-15)
    print(json.dumps(main(int(sys.argv[1]), sys.argv[2])))
