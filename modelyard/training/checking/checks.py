"""Every check of a script, alone and against its manifest."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from modelyard.contract.training import TrainingSpec
from modelyard.training.checking.findings import Finding
from modelyard.training.checking.manifest import Manifest, read_manifest
from modelyard.training.checking.script import REQUIRED, UNKNOWN, Script

__all__ = ["check"]

#: The training image's Python.
_PYTHON = (3, 11)
#: A ConfigMap holds 1 MiB; the run document lies beside the script.
_LARGEST_SCRIPT = 900_000
_LAPTOP = re.compile(r"^(~/|/(home|Users|root|Volumes|media|content|mnt(?!/pvc/)|data)/|[A-Za-z]:[\\/])")
_READERS = re.compile(r"(^|\.)(read_(csv|parquet|json|excel|table|feather|pickle|hdf)|load|loadtxt|genfromtxt|open)$")
_WRITERS = re.compile(r"\.(save|savez|savetxt|to_csv|to_parquet|to_json|savefig|save_weights|export|mkdir)$")
_MODULES = "image_modules.txt"


def check(script: Path, manifest: Path | None = None) -> list[Finding]:
    """Return what the cluster would refuse or the run would end with, and what only looks like it, in order."""
    text = script.read_text()
    told, found = read_manifest(manifest) if manifest else (None, [])
    try:
        tree = ast.parse(text, feature_version=_PYTHON)
    except SyntaxError as error:
        fix = f"the training image runs Python {_PYTHON[0]}.{_PYTHON[1]}"
        return [*found, Finding(str(script), error.lineno or 1, f"SyntaxError: {error.msg}", fix)]
    checks = _Checks(script, Script(tree), told)
    found += checks.alone()
    if len(text.encode()) > _LARGEST_SCRIPT:
        fix = "put it into an image and name it in spec.module"
        found.append(Finding(str(script), 1, f"the script has {len(text)} bytes: a ConfigMap holds 1 MiB", fix))
    if told is not None and told.spec is not None:
        found += checks.against(told.spec, told)
    return sorted(set(found))


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a manifest that a script is run by: the training, or one of its prepare steps."""

    place: tuple[str | int, ...]
    words: str
    sources: list[Any]
    field: str
    """The field that its data sources stand in."""
    made: list[str]
    """What the steps before it made."""
    hyperparameters: dict[str, Any]


def _part(spec: TrainingSpec, file: str) -> _Part:
    """Return the prepare step that runs a script of that file name, else the training."""
    names = [step.name for step in spec.prepare]
    for number, step in enumerate(spec.prepare):
        if step.script is not None and step.script.file == file != (spec.script and spec.script.file):
            place = ("spec", "prepare", number)
            words = f"spec.prepare[{step.name}]"
            return _Part(place, words, step.inputs, "inputs", names[:number], step.hyperparameters)
    return _Part(("spec",), "spec", spec.data, "data", names, spec.hyperparameters)


class _Checks:
    def __init__(self, path: Path, script: Script, manifest: Manifest | None) -> None:
        self._path, self._file, self._script = path, str(path), script
        spec = manifest.spec if manifest else None
        self._own_image = spec is not None and spec.image is not None
        self._part = _part(spec, path.name) if spec else None
        self._prepares = self._part is not None and self._part.field == "inputs"

    def alone(self) -> Iterator[Finding]:
        """Yield what is wrong whatever the manifest says."""
        yield from self._imports()
        yield from self._publishing()
        yield from self._paths()

    def against(self, spec: Any, manifest: Manifest) -> Iterator[Finding]:
        """Yield what does not fit the manifest."""
        assert self._part is not None
        yield from self._data(self._part, manifest)
        yield from self._hyperparameters(self._part, manifest)
        if not self._prepares:
            yield from self._target(spec, manifest)
            yield from self._gate(spec, manifest)

    def _finding(self, line: int, what: str, fix: str, *, refused: bool = True) -> Finding:
        return Finding(self._file, line, what, fix, refused)

    def _imports(self) -> Iterator[Finding]:
        for name, line in self._script.imports:
            beside = [self._path.with_name(f"{name}.py"), self._path.with_name(name)]
            if any(path.exists() and path != self._path for path in beside):
                what = f"{name} lies beside the script: only the script reaches the cluster"
                yield self._finding(line, what, "put both into an image and name the script in spec.module")
            elif name not in sys.stdlib_module_names and name not in _modules() and not self._own_image:
                what = f"{name} is not in the training image"
                yield self._finding(line, what, "build an image with it (docs/training.md) and name it in spec.image")

    def _publishing(self) -> Iterator[Finding]:
        if not self._script.begins_run:
            yield self._finding(1, "modelyard.run() is never called", "run = modelyard.run() at the beginning")
        elif not (self._prepares or self._script.calls("publish") or self._script.calls("write")):
            yield self._finding(1, "nothing is published: the run would fail at its end", "call run.publish(...)")

    def _paths(self) -> Iterator[Finding]:
        """Yield paths that only this machine has."""
        flagged = set()
        fix = "name it in spec.data and read it with run.data(NAME); here: python train.py --data NAME=PATH"
        for node in self._script.texts():
            if _LAPTOP.match(str(node.value)):
                flagged.add(node.lineno)
                yield self._finding(node.lineno, f"{node.value!r} is a path of this machine", fix)
        for name, call in self._script.functions_called():
            path = call.args[0] if call.args else None
            if call.lineno in flagged or not isinstance(path, ast.Constant) or not isinstance(path.value, str):
                continue
            if "://" in path.value or path.value.startswith("/"):
                continue
            if _writes(name, call):
                what = f"{path.value!r} is written: nothing but /tmp can be written in the cluster"
                yield self._finding(call.lineno, what, "leave it out: run.publish keeps the model", refused=False)
            elif _READERS.search(name) and "." in path.value:
                what = f"{path.value!r} is read: in the cluster it is not there"
                yield self._finding(call.lineno, what, fix)
        for name, call in self._script.functions_called():
            if name == "input":
                yield self._finding(call.lineno, "input() asks somebody: nobody is there", "use a hyperparameter")

    def _target(self, spec: Any, manifest: Manifest) -> Iterator[Finding]:
        if spec.script is None:
            fix = "check the program that it names"
            yield Finding(manifest.file, manifest.line("spec"), "the manifest runs no script", fix, refused=False)
        elif spec.script.file != self._path.name:
            line = manifest.line("spec", "script", "file")
            what = f"spec.script.file is {spec.script.file}, this script is {self._path.name}"
            yield Finding(manifest.file, line, what, "make them the same: the file is the ConfigMap's key")

    def _data(self, part: _Part, manifest: Manifest) -> Iterator[Finding]:
        given = [source.name for source in part.sources]
        known, where = [*given, *part.made], f"{part.words}.{part.field}"
        used = self._script.names("data") + self._script.names("path")
        for name, line in used:
            if name not in known:
                fix = f"add a source of that name to {where} of {manifest.file}"
                yield self._finding(line, f"{where} has no {name}; there are: {', '.join(known) or 'none'}", fix)
        calls = len(self._script.calls("data")) + len(self._script.calls("path"))
        for number, name in enumerate(given):
            if calls == len(used) and name not in [n for n, _ in used]:
                line = manifest.line(*part.place, part.field, number)
                fix = f"remove it, or read it with run.data({name!r})"
                yield Finding(manifest.file, line, f"{where}[{name}] is never read", fix, refused=False)

    def _hyperparameters(self, part: _Part, manifest: Manifest) -> Iterator[Finding]:
        read, script, where = self._script.hyperparameters, self._script, f"{part.words}.hyperparameters"
        for name, value in part.hyperparameters.items():
            line = manifest.line(*part.place, "hyperparameters", name)
            if name not in read and not script.reads_all:
                fix = f"remove it; the script reads {', '.join(read) or 'none'}"
                what = f"{where}.{name} is never read"
                yield Finding(manifest.file, line, what, fix, refused=script.refuses_unknown)
            elif name in read and not _fits(value, read[name][0]):
                default, place = read[name]
                what = f"{where}.{name} is {value!r}: {self._file}:{place} expects one like {default!r}"
                yield Finding(manifest.file, line, what, f"give a {type(default).__name__}")
        for name, (default, line) in read.items():
            if default is REQUIRED and name not in part.hyperparameters:
                what = f"{where} has no {name}"
                yield self._finding(line, what, f"add it to {manifest.file}, or give it a default")

    def _gate(self, spec: Any, manifest: Manifest) -> Iterator[Finding]:
        for call in self._script.calls("publish"):
            given = self._script.metrics(call)
            for number, threshold in enumerate(spec.gate.metrics):
                line = manifest.line("spec", "gate", "metrics", number)
                asked = f"spec.gate.metrics[{threshold.name}]"
                if given is None:
                    fix = f"see that {self._file}:{call.lineno} gives it"
                    yield Finding(manifest.file, line, f"{asked}: only running tells whether", fix, refused=False)
                elif threshold.name not in given:
                    what = f"{asked} is not what {self._file}:{call.lineno} publishes"
                    fix = f"publish(metrics=...) gives {', '.join(sorted(given)) or 'none'}"
                    yield Finding(manifest.file, line, what, fix)


def _writes(name: str, call: ast.Call) -> bool:
    modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    if name == "open":
        return any(isinstance(mode, ast.Constant) and set(str(mode.value)) & set("wax") for mode in modes)
    return _WRITERS.search(name) is not None


def _fits(value: object, default: object) -> bool:
    """Return whether `run.hyperparameter` takes a value in place of a default."""
    if default is REQUIRED or default is UNKNOWN or default is None:
        return True
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return True
    if isinstance(default, tuple):
        return isinstance(value, list)
    return type(value) is type(default)


@cache
def _modules() -> frozenset[str]:
    """Return the top-level modules of the training image."""
    text = (files("modelyard.training.checking") / _MODULES).read_text()
    return frozenset(line.split()[0] for line in text.splitlines() if line and not line.startswith("#"))
