"""One attempt at a run: check, run the script as a child process, conclude, leave the final record."""

import asyncio
import json
import signal
import sys
import tempfile
import uuid
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.contract import layout
from modelyard.contract.distribution import tf_config
from modelyard.contract.training import PublishWhen
from modelyard.contract.wire import (
    CURVES_FILE,
    RUN_FOLDER,
    Environment,
    ExitCode,
    Phase,
    Progress,
    Published,
    RunDocument,
    Termination,
)
from modelyard.model.storage import Refused, StorageError, Store, open_store
from modelyard_trainer.peers import Fetch, Peers, fetch_progress
from modelyard_trainer.status import StatusServer

__all__ = ["Attempt", "Ending", "conclude", "probe", "read_document"]

TERMINATION_LOG = "/dev/termination-log"
#: Kubernetes keeps this many bytes of a termination message.
_LONGEST_RECORD = 4096
_LONGEST_MESSAGE = 1000
#: Seconds that a script has to end by itself when a peer is lost: TensorFlow tells it, or it is saving its state.
_GRACE_SECONDS = 30.0
#: Seconds for whoever pulls `/progress` to do so a last time.
_LONGEST_WAIT = 15.0
#: Seconds between two looks at the progress of a script that may stall.
_LONGEST_LOOK = 5.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended."""

    code: int
    message: str = ""


def read_document(environment: Mapping[str, str]) -> RunDocument:
    """Return the run document; a missing one is a mistake of whoever starts this process."""
    path = environment.get(Environment.RUN)
    if not path:
        raise SystemExit(f"{Environment.RUN} is not set: it names the run document")
    return RunDocument.model_validate_json(Path(path).read_bytes())


class Attempt:
    """An attempt of the cluster."""

    def __init__(
        self,
        document: RunDocument,
        attempt: str,
        environment: Mapping[str, str],
        folder: Path,
        *,
        fetch: Fetch = fetch_progress,
    ) -> None:
        self._document = document
        self._attempt = attempt
        self._environment = environment
        self._progress_path = folder / "progress.json"
        self._failure_path = folder / "failure.json"
        self._stop = asyncio.Event()
        self._stalled = ""
        self._waiting = ""
        self._lost = ""
        self._place = int(environment.get(Environment.INDEX, 0)) if document.tasks else 0
        self._peers = Peers(document.tasks, self._place, fetch) if document.tasks else None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Attempt":
        """Begin the attempt that the environment describes."""
        document = read_document(environment)
        attempt = environment.get(Environment.ATTEMPT) or uuid.uuid4().hex
        return cls(document, attempt, environment, Path(tempfile.mkdtemp(prefix="modelyard-attempt-")))

    async def run(self, port: int | None = None) -> int:
        """Run the attempt to its end and leave the record; return the exit code."""
        server = StatusServer(self._progress, self._progress_path.with_name(CURVES_FILE), port)
        await server.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        try:
            ending, published = await self._attempt_it()
            record, is_whole = self._record(ending, published)
            if not is_whole:
                # what has no room in the record is told once more where it has
                await server.wait_until_read(_LONGEST_WAIT)
        finally:
            await server.stop()
        self._leave(record)
        if ending.message:
            print(ending.message, file=sys.stderr, flush=True)
        return ending.code

    async def _attempt_it(self) -> tuple[Ending, list[Published]]:
        try:
            store = open_store(self._document.output, self._environment)
            # with packages in between, one says nothing of the end
            at_end = self._document.publish.when is PublishWhen.END
            if at_end and (published := self._already_published(store)):
                return Ending(ExitCode.DONE, "published by an earlier attempt"), published
            if self._place == 0:
                probe(store, self._document.run)
        except StorageError as error:
            # what is out of reach may come back: that is no failure of the training
            code = ExitCode.CONFIGURATION if isinstance(error, Refused) else ExitCode.INTERRUPTED
            return Ending(code, f"spec.output.uri: {error}"), []
        if self._peers is not None and not await self._or_stopped(self._peers.find(self._wait)):
            return Ending(ExitCode.INTERRUPTED, "told to stop before it began"), []
        exit_code = await self._run_script()
        if self._place and exit_code == ExitCode.DONE:
            return await self._await_chief(store)
        progress = self._progress()
        if self._stalled:
            return Ending(ExitCode.FAILED, self._stalled), progress.published
        if self._lost and exit_code != ExitCode.DONE:
            saved = f"; goes on from step {progress.saved_step}" if progress.saved_step is not None else ""
            return Ending(ExitCode.INTERRUPTED, f"{self._lost} was lost{saved}"), progress.published
        stopping = self._stop.is_set()
        return conclude(exit_code, progress, self._failure(), stopping=stopping), progress.published

    async def _await_chief(self, store: Store) -> tuple[Ending, list[Published]]:
        """Keep a task's place until the chief has published: were it ended, no other attempt could begin with it."""
        assert self._peers is not None
        watching = asyncio.create_task(self._peers.watch())
        try:
            while not self._stop.is_set() and not watching.done():
                if published := self._already_published(store):
                    return Ending(ExitCode.DONE), published
                await self._or_stopped(asyncio.sleep(_LONGEST_LOOK))
        finally:
            watching.cancel()
        return Ending(ExitCode.INTERRUPTED, "the chief ended without publishing"), []

    async def _or_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Wait for some work, but no longer than until this process is told to stop; return whether it is done."""
        doing, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        done, pending = await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if doing not in done:
            return False
        await doing
        return True

    def _wait(self, text: str) -> None:
        if text != self._waiting:
            self._waiting = text
            print(text or "everyone is there", flush=True)

    def _already_published(self, store: Store) -> list[Published]:
        markers = store.list(layout.published_folder(self._document.run))
        return [Published.model_validate_json(store.read(path)) for path in markers]

    async def _run_script(self) -> int:
        """Run the script in a process of its own and hand a signal to end on to it; return its exit code."""
        target = ["--module", self._document.module] if self._document.module else [str(self._script_path())]
        environment = {**self._environment, Environment.PROGRESS: str(self._progress_path)}
        environment[Environment.ATTEMPT] = self._attempt
        if self._document.tasks:
            environment[Environment.TF_CONFIG] = json.dumps(tf_config(self._document.tasks, self._place))
        command = [sys.executable, "-m", "modelyard_trainer.script", str(self._failure_path), *target]
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        watching = [self._end_if_stalled(process), self._end_if_alone(process), self._end_if_told(process)]
        tasks = [asyncio.create_task(watch) for watch in watching]
        try:
            return await process.wait()
        finally:
            for task in tasks:
                task.cancel()

    async def _end_if_told(self, process: asyncio.subprocess.Process) -> None:
        """Hand a signal to end on to the script."""
        await self._stop.wait()
        if process.returncode is None:
            process.terminate()

    async def _end_if_alone(self, process: asyncio.subprocess.Process) -> None:
        """Kill the script some time after a task is lost that it cannot do without."""
        if self._peers is not None:
            self._lost = await self._peers.watch()
            await asyncio.sleep(_GRACE_SECONDS)
            process.kill()

    async def _end_if_stalled(self, process: asyncio.subprocess.Process) -> None:
        """Kill the script when its progress stands still for longer than the run allows."""
        allowed = self._document.stall_seconds
        if allowed is None:
            return
        clock = asyncio.get_running_loop().time
        seen, since = "", clock()
        while clock() - since <= allowed:
            await asyncio.sleep(min(allowed / 10, _LONGEST_LOOK))
            progress = self._progress()
            place = f"step {progress.step} ({progress.message or progress.phase})"
            if place != seen:
                seen, since = place, clock()
        self._stalled = f"no progress for {allowed} s (spec.stallSeconds) since {seen}"
        process.kill()

    def _script_path(self) -> Path:
        folder = Path(self._environment.get(Environment.RUN, f"{RUN_FOLDER}/run.json")).parent
        return folder / (self._document.script or "")

    def _progress(self) -> Progress:
        try:
            return Progress.model_validate_json(self._progress_path.read_bytes())
        except (OSError, ValueError):
            told = Progress(run=self._document.run, attempt=self._attempt, phase=Phase.STARTING)
            return told.model_copy(update={"message": self._waiting})

    def _failure(self) -> Ending | None:
        try:
            failure = json.loads(self._failure_path.read_bytes())
        except (OSError, ValueError):
            return None
        return Ending(failure["code"], failure["message"])

    def _record(self, ending: Ending, published: list[Published]) -> tuple[str, bool]:
        """Return the final record, and whether everything that was published has found room in it."""
        progress = self._progress()
        record = Termination(
            phase=Phase.DONE if ending.code == ExitCode.DONE else Phase.FAILED,
            step=progress.step,
            metrics=progress.metrics,
            published=published,
            message=ending.message[:_LONGEST_MESSAGE],
        )
        if (text := _fit(record)) is not None:
            return text, True
        record = record.model_copy(update={"metrics": {}})
        # the newest is the best, where there are several
        for count in range(len(published), -1, -1):
            newest = published[len(published) - count :]
            if (text := _fit(record.model_copy(update={"published": newest}))) is not None:
                return text, count == len(published)
        return "", False

    def _leave(self, record: str) -> None:
        path = Path(self._environment.get(Environment.TERMINATION_LOG) or TERMINATION_LOG)
        try:
            path.write_text(record)
        except OSError as error:
            print(f"the termination message could not be written to {path}: {error}", file=sys.stderr, flush=True)


def _fit(record: Termination) -> str | None:
    """Return a record as text, if Kubernetes keeps so much."""
    text = record.model_dump_json(by_alias=True, exclude_none=True)
    return text if len(text.encode()) <= _LONGEST_RECORD else None


def probe(store: Store, run: str) -> None:
    """Refuse a store that cannot create once: publishing rests on it."""
    path = f"{layout.state_folder(run)}/probe-{uuid.uuid4().hex}"
    first, second = store.create_once(path, b"first"), store.create_once(path, b"second")
    store.delete(path)
    if not first or second:
        raise Refused(f"{store.uri}: this store does not create objects exactly once; use another")


def conclude(code: int, progress: Progress, failure: Ending | None, *, stopping: bool) -> Ending:
    """Return how the attempt ended, from the script's exit code and what it left behind."""
    if code == ExitCode.DONE and progress.published:
        return Ending(ExitCode.DONE)
    if stopping:
        saved = f"; goes on from step {progress.saved_step}" if progress.saved_step is not None else ""
        return Ending(ExitCode.INTERRUPTED, f"told to stop at step {progress.step}{saved}")
    if code == ExitCode.DONE:
        return Ending(ExitCode.CONFIGURATION, "the script ended without publishing: call run.publish(...) at its end")
    if failure is not None:
        return failure
    if code == -signal.SIGKILL:
        return Ending(ExitCode.FAILED, "the script was killed: raise spec.resources.limits.memory if it ran out of it")
    return Ending(ExitCode.FAILED, f"the script ended with exit code {code}")
