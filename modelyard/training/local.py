"""A run on a laptop or in a notebook: its arguments, its folder below ./runs/, going on with it, its last words."""

from __future__ import annotations

import argparse
import ast
import atexit
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modelyard.contract import layout
from modelyard.contract.package import MANIFEST, Manifest
from modelyard.contract.training import Checkpointing, DataSource
from modelyard.contract.wire import Published, RunDocument
from modelyard.training.checking.script import REQUIRED, UNKNOWN, Script
from modelyard.training.preparing import local_sources
from modelyard.training.progress import ProgressFile

__all__ = ["LocalRun", "begin_local"]

_RUNS = "runs"
_LATEST = "latest"
_SETTINGS = "run.json"
#: Seconds between two saved states: a disk is near.
_SAVE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """What a local run is told; kept in its folder, so that it can be gone on with."""

    training: str = ""
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    data: Mapping[str, str | os.PathLike[str]] = field(default_factory=dict)
    """Name to URI or path."""
    seed: int = 0


class LocalRun:
    """What a laptop adds to a run."""

    def __init__(self, name: str, settings: Settings, folder: Path) -> None:
        self._name = name
        self._settings = settings
        self._folder = folder
        self._progress: ProgressFile | None = None
        self.shows_progress = False
        """Whether a bar is drawn: Keras need not draw one."""

    @property
    def document(self) -> RunDocument:
        """The run document that a cluster would have written."""
        told = self._settings
        # local paths are no URIs of a manifest
        data = [DataSource.model_construct(name=name, uri=_address(uri)) for name, uri in told.data.items()]
        return RunDocument(
            training=told.training,
            namespace="local",
            run=self._name,
            output=str(self._folder),
            hyperparameters=told.hyperparameters,
            data=data,
            seed=told.seed,
            checkpointing=Checkpointing(every_seconds=_SAVE_SECONDS),
        )

    def attach(self, progress: ProgressFile) -> None:
        """Show the progress, stop in order on Ctrl-C, and say at the end how to go on."""
        self._progress = progress
        if _is_notebook():
            return
        signal.signal(signal.SIGINT, self._interrupted)
        atexit.register(self._say_how_to_go_on)
        if sys.stdout.isatty():
            from modelyard.training.bar import bar

            drawn = bar()
            self.shows_progress = drawn is not None
            progress.listener = drawn

    def published(self, published: Published) -> None:
        """Point to the package, and say what it is."""
        folder = Path(published.uri)
        here = self._folder / _RUNS / self._name
        _point(here / "package", folder.relative_to(here))
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        size = sum(entry.size for entry in manifest.files)
        variants = ", ".join(variant.name for variant in manifest.variants)
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in published.metrics.items())
        address = f"{_RUNS}/{self._name}/package"
        print(
            f"{'metrics':>10}  {metrics}\n{'package':>10}  {address} ({size / 1e6:.2g} MB; {variants})\n"
            f"{'open it':>10}  modelyard.open({address!r})",
            flush=True,
        )

    def _interrupted(self, number: int, frame: Any) -> None:
        """Let the training under way save its state and end; the next Ctrl-C ends at once."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop = signal.getsignal(signal.SIGTERM)
        if not callable(stop):
            raise KeyboardInterrupt
        print("\nsaving the state after this step; Ctrl-C again ends at once", file=sys.stderr, flush=True)
        stop(number, frame)

    def _say_how_to_go_on(self) -> None:
        told = self._progress.progress if self._progress else None
        if told is not None and told.saved_step is not None and not told.published:
            script = os.path.relpath(sys.argv[0])
            print(
                f"the state of step {told.saved_step} is saved; go on with: python {script} --resume {self._name}",
                file=sys.stderr,
                flush=True,
            )


def begin_local(arguments: Sequence[str], folder: Path, known: Settings | None = None) -> LocalRun:
    """Begin a run with results below `folder`/runs, or go on with one; wrong arguments end the process.

    `known` is what the script says itself; the command line overrules it.
    """
    known = known or Settings()
    script = Path("notebook.py" if _is_notebook() or not arguments else arguments[0])
    training = "".join(c if c.isalnum() else "-" for c in script.stem.lower()).strip("-") or "run"
    reads = _reading_of(script)
    options = _parser(script.name, reads).parse_args([] if _is_notebook() else list(arguments[1:]))
    if options.resume is not None:
        if options.set or options.data or options.seed is not None:
            raise SystemExit("--resume goes on with what the run was told: leave --set, --data and --seed out")
        return _resume(options.resume, training, folder)
    for name, _ in options.set:
        if reads and name not in reads.hyperparameters and not reads.reads_all:
            known_names = ", ".join(reads.hyperparameters) or "none"
            print(f"--set {name}: {script.name} never reads it; it reads {known_names}", file=sys.stderr, flush=True)
    places = [*local_sources(folder).items(), *known.data.items(), *options.data]
    data = {name: _address(place) for name, place in places}
    settings = Settings(training, known.hyperparameters | dict(options.set), data, options.seed or 0)
    base = f"{training}-{time.strftime('%Y%m%d-%H%M%S')}"
    name, number = base, 1
    while (here := folder / _RUNS / name).exists():
        number += 1
        name = f"{base}-{number}"
    here.mkdir(parents=True)
    (here / _SETTINGS).write_text(json.dumps(asdict(settings), indent=1))
    _point(folder / _RUNS / _LATEST, Path(name))
    return LocalRun(name, settings, folder)


def _resume(wanted: str, training: str, folder: Path) -> LocalRun:
    """Return the run of that name, or the newest of the script that did not publish."""
    runs = folder / _RUNS
    known = {
        path.parent.name: Settings(**json.loads(path.read_text()))
        for path in sorted(runs.glob(f"*/{_SETTINGS}"), key=lambda path: path.stat().st_mtime_ns)
        if path.parent.name != _LATEST
    }
    if not wanted:
        unfinished = [
            name
            for name, told in known.items()
            if told.training == training and not (folder / layout.published_folder(name)).is_dir()
        ]
        wanted = unfinished[-1] if unfinished else ""
    if wanted not in known:
        there = ", ".join(known) or "none"
        raise SystemExit(f"--resume: there is no unfinished run {wanted or training} below {runs}; there are: {there}")
    _point(runs / _LATEST, Path(wanted))
    return LocalRun(wanted, known[wanted], folder)


def _reading_of(script: Path) -> Script | None:
    """Return what a script reads, as far as its text tells."""
    try:
        return Script(ast.parse(script.read_text()))
    except (OSError, ValueError, SyntaxError):
        return None


def _parser(script: str, reads: Script | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=script,
        description="Train here; results go below ./runs/. In the cluster the manifest of a ModelTraining says this.",
        epilog=_epilog(reads) if reads else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--set", metavar="NAME=VALUE", type=_setting, action="append", default=[], help="hyperparameter"
    )
    parser.add_argument(
        "--data", metavar="NAME=PATH", type=_pair, action="append", default=[], help="data source: a path or URI"
    )
    parser.add_argument("--seed", type=int, help="seed of every random number generator (0)")
    parser.add_argument(
        "--resume", metavar="RUN", nargs="?", const="", help="go on with an unfinished run from its saved state"
    )
    return parser


def _epilog(reads: Script) -> str:
    """Return what may be given, in words."""
    known = [
        f"  {name}" + ("" if default in (REQUIRED, UNKNOWN) else f" ({default!r})")
        for name, (default, _) in reads.hyperparameters.items()
    ]
    data = [f"  {name}" for name in dict(reads.names("data") + reads.names("path"))]
    return "\n".join(["hyperparameters:", *(known or ["  none"]), "data:", *(data or ["  none"])])


def _setting(text: str) -> tuple[str, Any]:
    name, value = _pair(text)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _address(place: str | os.PathLike[str]) -> str:
    """Return a URI, or a path as an absolute one."""
    return place if isinstance(place, str) and "://" in place else str(Path(place).expanduser().absolute())


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _is_notebook() -> bool:
    """Return whether no script runs: a notebook or an interactive interpreter, whose arguments are not ours."""
    return not hasattr(sys.modules["__main__"], "__file__")


def _point(link: Path, target: Path) -> None:
    """Let a link point to a target beside it, where the file system has links."""
    temporary = link.with_name(f".unfinished-{link.name}")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        return
