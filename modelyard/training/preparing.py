"""What a prepare step is given: a folder to fill. On a laptop it lies at `runs/prepared/SCRIPT`, where a training finds
it by the script's name, as it finds in the cluster what the step of that name made.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from modelyard.contract.wire import RunDocument
from modelyard.model.storage import open_store
from modelyard.training.errors import ConfigurationError
from modelyard.training.progress import ProgressFile

__all__ = ["Preparing", "local_sources"]

LOCAL_FOLDER = "runs/prepared"


class Preparing:
    """The part of a run that prepare steps use."""

    _document: RunDocument
    _environment: Mapping[str, str]
    is_local: bool
    progress: ProgressFile

    @property
    def output(self) -> str:
        """The URI of the folder that this step fills, a local path on a laptop; raise ConfigurationError if it trains.

        In the cluster the folder is this step's alone: nothing else ever writes there.
        """
        if self.is_local:
            return str(Path(self._document.output) / LOCAL_FOLDER / self._document.training)
        if self._document.step is None:
            raise ConfigurationError("only a step of spec.prepare writes data; a training publishes: run.publish(...)")
        return self._document.output

    @contextmanager
    def write(self, name: str) -> Iterator[Path]:
        """Give a local path to write a file at; it is stored in `output` under its name when the block ends well.

        Nothing is stored when the block raises. Raise StorageError, ConfigurationError.
        """
        store = open_store(self.output, self._environment)
        with tempfile.TemporaryDirectory(prefix="modelyard-output-") as folder:
            path = Path(folder) / Path(name).name
            yield path
            store.upload(path, name)

    def tell(self, message: str = "", *, percent: float | None = None) -> None:
        """Tell people how far a step is, from 0 to 100 %, and what it does; the last message stays in the status."""
        self.progress.tell(message=message[:256], percent=percent)


def local_sources(folder: Path) -> dict[str, str]:
    """Return the paths of what steps made on this laptop below `folder`, by their scripts' names."""
    return {path.name: str(path) for path in sorted((folder / LOCAL_FOLDER).glob("*")) if path.is_dir()}
