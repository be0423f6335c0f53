"""An attempt at a prepare step: the script runs as a training's does, but fills a folder instead of publishing.

The step is over when its marker exists, which is written last and once: a Job that is made again, because its record
was lost, finds it and ends at once.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from modelyard.contract.wire import Environment, ExitCode, Published
from modelyard.model.storage import NotFound, Refused, StorageError, open_store
from modelyard_trainer.attempting import Attempt, Ending, conclude, read_document

__all__ = ["MARKER", "Preparation", "attempt_of"]

#: Readers of the folder pass over names that begin so.
MARKER = "_PREPARED"


def attempt_of(environment: Mapping[str, str]) -> Attempt:
    """Return the attempt that the run document describes."""
    kind = Preparation if read_document(environment).step else Attempt
    return kind.from_environment(environment)


class Preparation(Attempt):
    """An attempt at a step."""

    async def _attempt_it(self) -> tuple[Ending, list[Published]]:
        try:
            store = open_store(self._document.output, self._environment)
            try:
                known = json.loads(store.read(MARKER))
            except NotFound:
                pass
            else:
                return Ending(ExitCode.DONE, known.get("message") or "done by an earlier attempt"), []
            exit_code = await self._run_script()
            progress = self._progress()
            if exit_code != ExitCode.DONE:
                return conclude(exit_code, progress, self._failure(), stopping=self._stop.is_set()), []
            marker = {
                "step": self._document.step,
                "attempt": self._environment.get(Environment.ATTEMPT, ""),
                "completed": datetime.now(UTC).isoformat(),
                "message": progress.message,
            }
            store.create_once(MARKER, json.dumps(marker).encode())
        except StorageError as error:
            code = ExitCode.CONFIGURATION if isinstance(error, Refused) else ExitCode.INTERRUPTED
            return Ending(code, f"spec.output.uri: {error}"), []
        return Ending(ExitCode.DONE, progress.message), []
