"""One attempt at a run: check, run the script as a child process, conclude, leave the final record."""

import asyncio
import json
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.contract import layout
from modelyard.contract.wire import (
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
from modelyard_trainer.status import StatusServer

__all__ = ["Attempt", "Ending", "conclude", "probe"]

TERMINATION_LOG = "/dev/termination-log"
#: Kubernetes keeps this many bytes of a termination message.
_LONGEST_RECORD = 4096
_LONGEST_MESSAGE = 1000
#: Seconds between two looks at the progress of a script that may stall.
_LONGEST_LOOK = 5.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended."""

    code: int
    message: str = ""


class Attempt:
    """An attempt of the cluster."""

    def __init__(self, document: RunDocument, attempt: str, environment: Mapping[str, str], folder: Path) -> None:
        self._document = document
        self._attempt = attempt
        self._environment = environment
        self._progress_path = folder / "progress.json"
        self._failure_path = folder / "failure.json"
        self._stopping = False
        self._stalled = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Attempt":
        """Read the run document; a missing one is a mistake of whoever starts this process."""
        path = environment.get(Environment.RUN)
        if not path:
            raise SystemExit(f"{Environment.RUN} is not set: it names the run document")
        document = RunDocument.model_validate_json(Path(path).read_bytes())
        attempt = environment.get(Environment.ATTEMPT) or uuid.uuid4().hex
        return cls(document, attempt, environment, Path(tempfile.mkdtemp(prefix="modelyard-attempt-")))

    async def run(self, port: int | None = None) -> int:
        """Run the attempt to its end and leave the record; return the exit code."""
        server = StatusServer(self._progress, port)
        await server.start()
        try:
            ending, published = await self._attempt_it()
        finally:
            await server.stop()
        self._leave_record(ending, published)
        if ending.message:
            print(ending.message, file=sys.stderr, flush=True)
        return ending.code

    async def _attempt_it(self) -> tuple[Ending, list[Published]]:
        try:
            store = open_store(self._document.output, self._environment)
            if published := self._already_published(store):
                return Ending(ExitCode.DONE, "published by an earlier attempt"), published
            probe(store, self._document.run)
        except StorageError as error:
            # what is out of reach may come back: that is no failure of the training
            code = ExitCode.CONFIGURATION if isinstance(error, Refused) else ExitCode.INTERRUPTED
            return Ending(code, f"spec.output.uri: {error}"), []
        exit_code = await self._run_script()
        progress = self._progress()
        if self._stalled:
            return Ending(ExitCode.FAILED, self._stalled), progress.published
        return conclude(exit_code, progress, self._failure(), stopping=self._stopping), progress.published

    def _already_published(self, store: Store) -> list[Published]:
        markers = store.list(layout.published_folder(self._document.run))
        return [Published.model_validate_json(store.read(path)) for path in markers]

    async def _run_script(self) -> int:
        """Run the script in a process of its own and hand a signal to end on to it; return its exit code."""
        target = ["--module", self._document.module] if self._document.module else [str(self._script_path())]
        environment = {**self._environment, Environment.PROGRESS: str(self._progress_path)}
        environment[Environment.ATTEMPT] = self._attempt
        command = [sys.executable, "-m", "modelyard_trainer.script", str(self._failure_path), *target]
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        watching = asyncio.create_task(self._end_if_stalled(process))

        def stop() -> None:
            self._stopping = True
            if process.returncode is None:
                process.terminate()

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGINT, stop)
        try:
            return await process.wait()
        finally:
            watching.cancel()

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
            place = f"step {progress.step} ({progress.phase})"
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
            return Progress(run=self._document.run, attempt=self._attempt, phase=Phase.STARTING)

    def _failure(self) -> Ending | None:
        try:
            failure = json.loads(self._failure_path.read_bytes())
        except (OSError, ValueError):
            return None
        return Ending(failure["code"], failure["message"])

    def _leave_record(self, ending: Ending, published: list[Published]) -> None:
        progress = self._progress()
        record = Termination(
            phase=Phase.DONE if ending.code == ExitCode.DONE else Phase.FAILED,
            step=progress.step,
            metrics=progress.metrics,
            published=published,
            message=ending.message[:_LONGEST_MESSAGE],
        )
        text = record.model_dump_json(by_alias=True, exclude_none=True)
        if len(text.encode()) > _LONGEST_RECORD:
            text = record.model_copy(update={"metrics": {}}).model_dump_json(by_alias=True, exclude_none=True)
        path = Path(self._environment.get(Environment.TERMINATION_LOG) or TERMINATION_LOG)
        try:
            path.write_text(text)
        except OSError as error:
            print(f"the termination message could not be written to {path}: {error}", file=sys.stderr, flush=True)


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
