"""`python -m modelyard.model COMMAND`: packages from a shell, for models that other frameworks made.

publish MODEL ...   make a package of a SavedModel's folder or a .tflite file, and publish it
verify URI          check every file, every offered variant and its golden answers
inspect URI         say what a package holds
"""

import argparse
import csv
import json
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract.package import SIGNATURE_FILE, Features, Labels, Precision
from modelyard.contract.training import Optimise
from modelyard.model.encoders import encoder_for
from modelyard.model.encoders.common import ColumnError
from modelyard.model.opening import open
from modelyard.model.publishing import Publication, PublishError, publish
from modelyard.model.storage import NotFound, StorageError, open_store

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code: 0 done, 1 refused, 2 misused."""
    parser = argparse.ArgumentParser(
        prog="python -m modelyard.model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_publish(commands)
    for name, command in (("verify", _verify), ("inspect", _inspect)):
        added = commands.add_parser(name, help=f"{name} a package")
        added.add_argument("uri", help="the package's folder: a path or a URI")
        added.add_argument("--digest", help="sha256:...: it is this package or an error")
        added.add_argument("--public-keys", type=Path, help="PEM file or folder: one of these keys must have signed it")
        added.set_defaults(command=command)
    parsed = parser.parse_args(arguments)
    try:
        parsed.command(parsed)
    except (ValueError, StorageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _add_publish(commands: Any) -> None:
    added = commands.add_parser("publish", help="publish a SavedModel or a .tflite file")
    added.add_argument("model", type=Path, help="folder of a SavedModel, or a .tflite file")
    added.add_argument("--features", type=Path, required=True, help="features.json: the request schema")
    added.add_argument("--labels", type=Path, required=True, help="labels.json: the outputs")
    added.add_argument("--holdout", type=Path, required=True, help="rows not trained on: .csv, or .npz of columns")
    added.add_argument("--output", required=True, help="where to publish: a path or a URI")
    added.add_argument("--name", required=True, help="the model's name")
    added.add_argument("--run", help="the run's name (default: NAME and the time); a run's step is published once")
    added.add_argument("--step", type=int, default=0)
    added.add_argument("--metric", action="append", default=[], metavar="NAME=VALUE", help="what was measured")
    added.add_argument("--samples", type=Path, help="golden requests: a JSON object a line (default: the first rows)")
    added.add_argument("--optimise", action="append", default=[], choices=list(Precision), help="a smaller form")
    added.add_argument("--max-loss", type=float, default=Optimise().max_loss, help="what such a form may lose")
    added.add_argument("--lookup", action="append", metavar="FEATURE", help="answer its whole domain beforehand")
    added.add_argument("--signing-key", type=Path, help="private key in PEM")
    added.set_defaults(command=_publish)


def _publish(arguments: argparse.Namespace) -> None:
    features = Features.model_validate_json(arguments.features.read_bytes())
    holdout = _columns(arguments.holdout, features)
    name = arguments.name
    publication = Publication(
        name=name,
        run=arguments.run or f"{name}-{time.strftime('%Y%m%d-%H%M%S')}",
        step=arguments.step,
        attempt=uuid.uuid4().hex[:12],
        features=features,
        labels=Labels.model_validate_json(arguments.labels.read_bytes()),
        metrics=dict(map(_metric, arguments.metric)),
        holdout=holdout,
        samples=_samples(arguments.samples, holdout),
        optimise=Optimise(variants=arguments.optimise, max_loss=arguments.max_loss),
        lookup=arguments.lookup,
        signing_key=arguments.signing_key.read_bytes() if arguments.signing_key else None,
    )
    published = publish(arguments.model, publication, open_store(arguments.output), lambda: datetime.now(UTC))
    print(f"uri: {published.uri}\ndigest: {published.digest}\nruntime: {published.runtime}")


def _metric(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise PublishError(f"--metric {text}: NAME=VALUE with a number is expected") from error


def _columns(path: Path, features: Features) -> dict[str, Any]:
    """Return raw columns by feature name: arrays as they are, or the texts of a CSV as a query would give them."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows:
        raise PublishError(f"{path} has no rows")
    columns: dict[str, Any] = {}
    for feature in features.features:
        if feature.name not in rows[0] or feature.type == "cross":
            continue
        parse = encoder_for(feature).parse
        try:
            columns[feature.name] = [parse([row[feature.name]]) for row in rows]
        except ColumnError as error:
            raise PublishError(f"{path}: {feature.name}: {error}") from error
    return columns


def _samples(path: Path | None, holdout: Mapping[str, Any]) -> list[dict[str, Any]]:
    if path is not None:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    rows = min(3, *(len(values) for values in holdout.values()))
    return [{name: _plain(values[row]) for name, values in holdout.items()} for row in range(rows)]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _verify(arguments: argparse.Namespace) -> None:
    told = {"digest": arguments.digest, "public_keys": arguments.public_keys}
    model = open(arguments.uri, **told)
    for variant in model.manifest.variants:
        if not variant.serve:
            print(f"{variant.name}: not offered: {variant.reason}")
            continue
        open(arguments.uri, variant=variant.name, **told).verify_samples()
        print(f"{variant.name}: whole, {len(model.samples)} golden answers hold")
    print(f"digest: {model.digest}")


def _inspect(arguments: argparse.Namespace) -> None:
    model = open(arguments.uri, digest=arguments.digest, public_keys=arguments.public_keys)
    manifest = model.manifest
    try:
        signed = bool(open_store(arguments.uri).read(SIGNATURE_FILE))
    except NotFound:
        signed = False
    print(f"{manifest.name} {model.version}, made {manifest.created}, {'signed' if signed else 'not signed'}")
    print(f"digest: {model.digest}")
    print("metrics: " + (", ".join(f"{name}={value:g}" for name, value in manifest.metrics.items()) or "none"))
    print("features: " + ", ".join(f"{item.name} ({item.type})" for item in model.features.features))
    print("outputs: " + ", ".join(f"{item.name} ({item.kind})" for item in model.labels.outputs))
    print(f"rows looked up: {len(model.lookup) if model.lookup is not None else 0:,}")
    for variant in manifest.variants:
        speed = f", {variant.seconds * 1e6:,.0f} us an instance" if variant.seconds else ""
        reason = "" if variant.serve else f", not offered: {variant.reason}"
        chosen = ", served" if variant.name == model.variant.name else ""
        print(f"variant {variant.name} ({variant.runtime}): {variant.size:,} bytes{speed}{chosen}{reason}")


if __name__ == "__main__":
    sys.exit(main())
