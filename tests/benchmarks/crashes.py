"""`make crashes`: processes are killed at every file and request of publishing and saving, on real stores.

Each trial is a process that ends by SIGKILL: before its n-th file operation or around its n-th request, or at a random
moment. What a reader then sees must be whole, and the next attempt must come to a good end. Exits with 1 otherwise.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from modelyard.contract import layout
from modelyard.contract.package import Features, Labels, NumberFeature, Output, OutputKind
from modelyard.contract.wire import Published
from modelyard.model.opening import fetch_package
from modelyard.model.publishing import Publication, upload_package
from modelyard.model.storage import Store, open_store
from modelyard.training.state import Position, State, StateStore
from tests.support.hdfs import hdfs_server
from tests.support.s3 import s3_server

_FILE_OPERATIONS = frozenset({"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.listdir"})
_REQUESTS = ("put", "get", "head", "delete", "list")
_HDFS_REQUESTS = ("create", "rename", "delete", "read", "get_file_info", "list_status")
#: States that a trial saves, one after the other.
_SAVES = 4
_KEEP = 2
_RUN = "t-1"
#: Processes that run beside each other: HDFS makes them wait for each file.
_AT_A_TIME = 8
Act = Callable[[Store, Callable[[int], None]], None]


@dataclass(frozen=True)
class Place:
    """Where trials store: the addresses of fresh stores, and how they are reached."""

    name: str
    root: str
    environment: Mapping[str, str]

    def store(self, trial: str) -> Store:
        return open_store(f"{self.root}/{trial}", self.environment)


def publication(attempt: str) -> Publication:
    """Return what is published; the package's files lie ready, so only names count here."""
    return Publication(
        name="t",
        run=_RUN,
        step=7,
        attempt=attempt,
        features=Features(features=[NumberFeature(name="x")]),
        labels=Labels(outputs=[Output(name="y", kind=OutputKind.REGRESSION)]),
        metrics={},
        holdout={},
        samples=[],
    )


def publishing(package: Path, attempt: str) -> Act:
    """Return the act of publishing a finished package."""

    def act(store: Store, tell: Callable[[int], None]) -> None:
        upload_package(package, publication(attempt), store, lambda: datetime.now(UTC))
        tell(7)

    return act


def saving(attempt: str, first: int = 1) -> Act:
    """Return the act of saving states one after the other."""

    def act(store: Store, tell: Callable[[int], None]) -> None:
        states = StateStore(store, _RUN, _KEEP)
        for step in range(first, first + _SAVES):
            states.save(state(step), attempt)
            tell(step)

    return act


def state(step: int) -> State:
    """Return a state that can be told from others, large enough to be torn."""
    return State(Position(step, step), [np.full(20_000, step, np.float32)], [np.full(3, step)])


def kill_at(number: int) -> Callable[[], None]:
    """Return what ends this process before its n-th file operation, or around its n-th request."""
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def install() -> None:
        sys.addaudithook(lambda event, _: count() if event in _FILE_OPERATIONS else None)
        import hdfs_native
        import obstore

        for holder, names in (
            (obstore, _REQUESTS),
            (hdfs_native.Client, _HDFS_REQUESTS),
            (hdfs_native.FileWriter, ("write", "close")),
        ):
            for name in names:
                setattr(holder, name, _counted(getattr(holder, name), count))

    return install


def _counted(call: Callable[..., object], count: Callable[[], None]) -> Callable[..., object]:
    def counted(*arguments: object, **options: object) -> object:
        count()
        result = call(*arguments, **options)
        count()
        return result

    return counted


def attempt_in_process(place: Place, trial: str, act: Act, install: Callable[[], None] | None) -> tuple[int, int]:
    """Act in a process of its own; return its pid and the pipe on which it tells what is done."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    code = 1
    try:
        store = place.store(trial)
        # what is imported on first use is no part of the act
        store.list("warm")
        if install:
            install()
        act(store, lambda step: (os.write(writer, bytes([step])), None)[1])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(child: int, reader: int) -> tuple[bool, int]:
    """Wait for a process; return whether it was killed, and the last step that it told."""
    _, status = os.waitpid(child, 0)
    told = os.read(reader, 1000)
    os.close(reader)
    if os.WIFSIGNALED(status):
        return True, max(told, default=0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("a trial failed on its own account")
    return False, max(told, default=0)


def trials(place: Place, kind: str, make: Callable[[str], Act], random_kills: int) -> tuple[dict[str, int], int]:
    """Kill at every place, then at random moments; return the last told step of each trial, and how many died."""
    told: dict[str, int] = {}
    kills: Counter[bool] = Counter()
    first, seconds, is_over = 1, 0.0, False
    while not is_over:
        wave = [f"{kind}-{number}" for number in range(first, first + _AT_A_TIME)]
        started = time.perf_counter()
        running = [attempt_in_process(place, trial, make("first"), kill_at(first + n)) for n, trial in enumerate(wave)]
        for trial, process in zip(wave, running, strict=True):
            killed, told[trial] = finish(*process)
            is_over = is_over or not killed
            kills[killed] += 1
        first, seconds = first + _AT_A_TIME, time.perf_counter() - started
    for start in range(0, random_kills, _AT_A_TIME):
        wave = [f"{kind}-random-{number}" for number in range(start, min(start + _AT_A_TIME, random_kills))]
        running = [attempt_in_process(place, trial, make("first"), None) for trial in wave]
        # a wave lasts as long as its slowest process
        moments = sorted(random.random() * seconds / 2 for _ in wave)
        for before, moment, (child, _) in zip([0.0, *moments], moments, running, strict=False):
            time.sleep(moment - before)
            os.kill(child, signal.SIGKILL)
        for trial, process in zip(wave, running, strict=True):
            killed, told[trial] = finish(*process)
            kills[killed] += 1
    return told, kills[True]


def torn_publications(place: Place, names: list[str], package: Path) -> Iterator[str]:
    """Yield what is wrong: a marker without a whole package, or a next attempt that does not end well."""

    def look(trial: str) -> list[str]:
        return list(_torn_publication(place, trial, package))

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for wrong in pool.map(look, names):
            yield from wrong


def _torn_publication(place: Place, trial: str, package: Path) -> Iterator[str]:
    store = place.store(trial)
    folder = layout.published_folder(_RUN)
    before = [Published.model_validate_json(store.read(path)) for path in store.list(folder)]
    for published in before:
        yield from _damage(place, published, trial)
    publishing(package, "second")(store, lambda _: None)
    [marker] = store.list(folder)
    after = Published.model_validate_json(store.read(marker))
    if before and after != before[0]:
        yield f"{trial}: {before[0].token} was published, then {after.token}"
    yield from _damage(place, after, trial)


def _damage(place: Place, published: Published, trial: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            fetch_package(open_store(published.uri, place.environment), Path(folder), published.digest)
        except ValueError as error:
            yield f"{trial}: {error}"


def torn_states(place: Place, told: Mapping[str, int]) -> Iterator[str]:
    """Yield what is wrong: a state that is not whole, or older than the last that was saved."""

    def look(trial: str) -> list[str]:
        return list(_torn_state(place, trial, told[trial]))

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for wrong in pool.map(look, told):
            yield from wrong


def _torn_state(place: Place, trial: str, saved: int) -> Iterator[str]:
    states = StateStore(place.store(trial), _RUN, _KEEP)
    newest = states.newest()
    step = newest.position.step if newest else 0
    if step < saved:
        yield f"{trial}: step {saved} was saved, {step} is found"
    if newest and not all((array == step).all() for array in [*newest.variables, *newest.optimizer]):
        yield f"{trial}: the state of step {step} is torn"
    saving("second", step + 1)(place.store(trial), lambda _: None)
    after = states.newest()
    if after is None or after.position.step != step + _SAVES:
        yield f"{trial}: the next attempt did not get to step {step + _SAVES}"


def race(place: Place, package: Path, trial: str) -> Iterator[str]:
    """Let ten publish at a time; yield what is wrong unless exactly one wins. Needs a process of its own."""
    acts = [publishing(package, f"racer-{racer}") for racer in range(10)]
    running = [attempt_in_process(place, trial, act, None) for act in acts]
    for child, reader in running:
        finish(child, reader)
    store = place.store(trial)
    markers = store.list(layout.published_folder(_RUN))
    if len(markers) != 1:
        yield f"{trial}: {len(markers)} markers"
    yield from _damage(place, Published.model_validate_json(store.read(markers[0])), trial)


@contextmanager
def places(folder: Path) -> Iterator[list[Place]]:
    """Offer a folder, as a claim is, a bucket of a real S3 server, and a folder of a real HDFS."""
    (folder / "bucket").mkdir()
    (folder / "hdfs").mkdir()
    with (
        s3_server(folder / "bucket", "127.0.0.1:17071") as s3,
        hdfs_server(folder / "hdfs", "127.0.0.1:17074") as hdfs,
    ):
        yield [
            Place("files", str(folder / "claim"), {}),
            Place("s3", "s3://models", s3.environment),
            Place("hdfs", f"{hdfs.uri}/models", {}),
        ]


def in_process_of_its_own(work: Callable[[], list[str]]) -> list[str]:
    """Return what the work returns, computed in a fork: the parent must stay without threads to be forked again."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            with os.fdopen(writer, "w") as pipe:
                json.dump(work(), pipe)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("looking at the outcome failed")
    return list(json.loads(text))


def main() -> None:
    """Run the matrix, print a line for each part, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=250, help="random kills of each part (default: 250)")
    parser.add_argument("--races", type=int, default=10, help="rounds of ten publishers (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: 1)")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="modelyard-crashes-") as name, places(Path(name)) as found:
        package = Path(name) / "package"
        # TensorFlow has threads: the package is made elsewhere
        make = (
            "import sys; from pathlib import Path; from tests.support.packages import *; "
            "from modelyard.model.publishing import build_package; "
            "build_package(keras_model(), publication(), Path(sys.argv[1]), NOW)"
        )
        package.mkdir()
        subprocess.run([sys.executable, "-c", make, str(package)], check=True, capture_output=True)
        for place in found:
            told, publishers = trials(place, "publish", lambda attempt: publishing(package, attempt), arguments.random)
            bad = in_process_of_its_own(lambda p=place, n=list(told): list(torn_publications(p, n, package)))
            saved, savers = trials(place, "save", saving, arguments.random)
            bad += in_process_of_its_own(lambda p=place, s=saved: list(torn_states(p, s)))
            for number in range(arguments.races):
                bad += in_process_of_its_own(lambda p=place, n=number: list(race(p, package, f"race-{n}")))
            counts["killed"] += publishers + savers
            print(
                f"{place.name:<6} {publishers:>4} killed while publishing, {savers:>4} while saving, "
                f"{arguments.races} races of ten: {len(bad)} wrong",
                flush=True,
            )
            wrong += bad
    print(f"{counts['killed']} processes killed, {len(wrong)} wrong")
    for line in wrong[:20]:
        print(f"  {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
