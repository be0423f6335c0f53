"""`python -m modelyard_trainer.collecting DOCUMENT`: delete what the document names and the store is seen to hold.

A store that cannot be listed, or that does not hold what is kept, is left as it is. Deleting may be cut off anywhere:
the next collection goes on.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from modelyard.contract import layout
from modelyard.contract.retention import Collected, Collection
from modelyard.contract.wire import Environment, ExitCode, Published
from modelyard.model.collecting import CollectError, Listing, Plan, plan, runs_to_list
from modelyard.model.storage import Refused, StorageError, Store, open_store
from modelyard_trainer.attempting import TERMINATION_LOG

__all__ = ["collect", "look", "main"]

_LONGEST_MESSAGE = 500


def main(path: Path, environment: Mapping[str, str]) -> int:
    """Collect, leave the record; return the exit code."""
    collection = Collection.model_validate_json(path.read_bytes())
    try:
        code, record = ExitCode.DONE, collect(collection, open_store(collection.output, environment))
    except CollectError as error:
        code, record = ExitCode.CONFIGURATION, Collected(message=str(error))
    except StorageError as error:
        code = ExitCode.CONFIGURATION if isinstance(error, Refused) else ExitCode.FAILED
        record = Collected(message=f"spec.output.uri: {error}")
    text = record.model_copy(update={"message": record.message[:_LONGEST_MESSAGE]}).model_dump_json(by_alias=True)
    print(text, flush=True)
    Path(environment.get(Environment.TERMINATION_LOG) or TERMINATION_LOG).write_text(text)
    return code


def collect(collection: Collection, store: Store) -> Collected:
    """Delete; raise CollectError or StorageError. What is listed before anything is deleted decides all of it."""
    made: Plan = plan(collection, look(collection, store))
    for path in made.paths:
        store.delete(path)
    message = "; ".join(made.problems)
    return Collected(packages=made.packages, states=made.states, leftovers=made.leftovers, message=message)


def look(collection: Collection, store: Store) -> Listing:
    """List every run that the plan looks at, and read its markers; raise StorageError."""
    paths = {run: store.list(layout.run_folder(run)) for run in runs_to_list(collection)}
    markers: dict[str, Published] = {}
    for run, found in paths.items():
        for path in found:
            if path.startswith(f"{layout.published_folder(run)}/"):
                try:
                    markers[path] = Published.model_validate_json(store.read(path))
                except ValueError:
                    continue  # the plan leaves its run alone
    return Listing(paths, markers)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), os.environ))
