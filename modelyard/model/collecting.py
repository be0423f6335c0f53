"""What a collection deletes: a pure function of what it was told and of what lies in the store.

Only what is listed is deleted, only what was named may be, and never anything that is kept. A marker goes before its
manifest and that before the files, so that a reader sees a whole package or none, also when the deleting is cut off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelyard.contract import layout
from modelyard.contract.package import MANIFEST
from modelyard.contract.retention import Collection, ExpiringPackage
from modelyard.contract.wire import Published

__all__ = ["CollectError", "Listing", "Plan", "plan", "runs_to_list"]


class CollectError(Exception):
    """The store does not hold what it must: nothing may be deleted."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found in the store."""

    paths: Mapping[str, Sequence[str]]
    """By run: every path below its folder."""
    markers: Mapping[str, Published] = field(default_factory=dict)
    """By path: the publication markers that could be read."""

    def below(self, folder: str) -> list[str]:
        """Return the paths below a run's folder or one inside it."""
        run = folder.split("/")[1]
        return [path for path in self.paths.get(run, ()) if path.startswith(f"{folder}/")]


@dataclass(slots=True)
class Plan:
    """What is deleted, in order."""

    paths: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    """ModelCheckpoints whose packages are gone afterwards."""
    states: int = 0
    leftovers: int = 0
    problems: list[str] = field(default_factory=list)
    """What is left alone, and why."""


def runs_to_list(collection: Collection) -> list[str]:
    """Return the runs whose folders the plan looks at."""
    kept = [prefix.split("/")[1] for prefix in _kept_prefixes(collection)]
    return sorted({*kept, *collection.over, *(item.run for item in collection.expire)})


def plan(collection: Collection, listing: Listing) -> Plan:
    """Return what to delete; raise CollectError if none of the packages that must be there is."""
    kept = _kept_prefixes(collection)
    if kept and not any(f"{prefix}/{MANIFEST}" in listing.below(prefix) for prefix in kept):
        raise CollectError(
            f"none of the {len(kept)} packages that are kept lies below {collection.output}: is it the right store? "
            "Nothing is deleted"
        )
    made = Plan()
    for package in collection.expire:
        _expire(collection, package, kept, listing, made)
    for run in collection.over:
        _clear(collection, run, kept, listing, made)
    return made


def _kept_prefixes(collection: Collection) -> list[str]:
    found = (_prefix_of(collection, uri) for uri in collection.kept)
    return sorted({prefix for prefix in found if prefix is not None})


def _prefix_of(collection: Collection, uri: str) -> str | None:
    """Return the path of a package below the output; None if it is not there."""
    root = f"{collection.output.rstrip('/')}/"
    path = uri.removeprefix(root).rstrip("/")
    parts = path.split("/")
    is_package = len(parts) == 4 and (parts[0], parts[2]) == ("runs", "attempts") and all(parts)
    return path if uri.startswith(root) and is_package else None


def _expire(collection: Collection, package: ExpiringPackage, kept: list[str], listing: Listing, made: Plan) -> None:
    prefix = _prefix_of(collection, package.uri)
    expected = layout.attempt_prefix(package.run, package.step, "")
    if prefix is None or not prefix.startswith(expected):
        made.problems.append(f"{package.checkpoint}: {package.uri} is no package of this output")
        return
    if prefix in kept or package.digest in collection.kept_digests:
        made.problems.append(f"{package.checkpoint}: its package is in use")
        return
    marker = layout.published_marker(package.run, package.step)
    files = _manifest_first(listing.below(prefix))
    if marker in listing.paths.get(package.run, ()):
        told = listing.markers.get(marker)
        if told is None or (told.uri, told.digest) != (package.uri, package.digest):
            made.problems.append(f"{package.checkpoint}: the marker {marker} is of another package")
            return
        files = [marker, *files]
    made.paths += files
    made.packages.append(package.checkpoint)


def _clear(collection: Collection, run: str, kept: list[str], listing: Listing, made: Plan) -> None:
    """Delete what a run that is over needs no more: its states, and what no marker ever named."""
    states = listing.below(layout.state_folder(run))
    # markers have names of their own in the folder: they go first
    made.paths += sorted(states, key=lambda path: (path.count("/"), path))
    made.states += bool(states)
    markers = listing.below(layout.published_folder(run))
    unread = [path for path in markers if path not in listing.markers]
    if unread:
        made.problems.append(f"{run}: the marker {unread[0]} cannot be read: its packages are left alone")
        return
    named = {_prefix_of(collection, listing.markers[path].uri) for path in markers}
    named |= {_prefix_of(collection, package.uri) for package in collection.expire}
    # the folder of a package is the fourth segment
    attempts = listing.below(f"{layout.run_folder(run)}/attempts")
    prefixes = sorted({"/".join(path.split("/")[:4]) for path in attempts if path.count("/") >= 4})
    for prefix in prefixes:
        if prefix not in named and prefix not in kept:
            made.paths += _manifest_first(listing.below(prefix))
            made.leftovers += 1


def _manifest_first(paths: list[str]) -> list[str]:
    return sorted(paths, key=lambda path: (not path.endswith(f"/{MANIFEST}"), path))
