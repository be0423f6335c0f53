"""What a collection deletes, over many random stores; and that it deletes nothing where it should not."""

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelyard.contract import layout
from modelyard.contract.retention import Collected, Collection, ExpiringPackage
from modelyard.contract.wire import ExitCode, Published
from modelyard.model.collecting import CollectError, Listing, plan, runs_to_list
from modelyard.model.storage import Unreachable, open_store
from modelyard_trainer.collecting import collect, main

OUTPUT = "pvc://models/digits"
FILES = ("manifest.json", "model.tflite", "saved_model/variables/data", "features.json")


@dataclass
class Store:
    """A store in memory: what a reader sees of it."""

    files: dict[str, Published | None] = field(default_factory=dict)
    packages: list[ExpiringPackage] = field(default_factory=list)

    def publish(self, run: str, step: int) -> ExpiringPackage:
        package = package_of(run, step)
        for name in FILES:
            self.files[f"{prefix_of(package)}/{name}"] = None
        published = Published(step=step, uri=package.uri, digest=package.digest, metrics={})
        self.files[layout.published_marker(run, step)] = published
        self.packages.append(package)
        return package

    def listing(self, collection: Collection) -> Listing:
        paths = {
            run: [path for path in self.files if path.startswith(f"runs/{run}/")] for run in runs_to_list(collection)
        }
        markers = {path: item for path, item in self.files.items() if item is not None}
        return Listing(paths, markers)

    def is_whole(self, package: ExpiringPackage) -> bool:
        return all(f"{prefix_of(package)}/{name}" in self.files for name in FILES)

    def marker_of(self, package: ExpiringPackage) -> Published | None:
        return self.files.get(layout.published_marker(package.run, package.step))


def package_of(run: str, step: int) -> ExpiringPackage:
    uri = layout.join(OUTPUT, layout.attempt_prefix(run, step, "pod-1"))
    digest = f"sha256:{hashlib.sha256(uri.encode()).hexdigest()}"
    return ExpiringPackage(checkpoint=f"{run}-{step}", uri=uri, digest=digest, run=run, step=step)


def prefix_of(package: ExpiringPackage) -> str:
    return package.uri.removeprefix(f"{OUTPUT}/")


def random_story(chance: random.Random) -> tuple[Store, Collection]:
    """Return a store of several runs and what a Job is told about it."""
    store = Store()
    for run in (f"run-{number}" for number in range(chance.randint(1, 6))):
        for step in chance.sample(range(1, 20), chance.randint(0, 3)):
            store.publish(run, step)
        for step in chance.sample(range(1, 20), chance.randint(0, 3)):
            for name in FILES[: chance.randint(1, 4)]:
                store.files[f"{layout.attempt_prefix(run, step, 'pod-0')}/{name}"] = None
            store.files[f"{layout.state_prefix(run, step, 'pod-0')}/state.npz"] = None
            store.files[layout.state_marker(run, step)] = None
        store.files[f"runs/{run}/logs/events"] = None
    expire = [package for package in store.packages if chance.random() < 0.5]
    kept = [package for package in store.packages if package not in expire]
    # a package may be in use although it was named to expire
    kept += [package for package in expire if chance.random() < 0.1]
    runs = {path.split("/")[1] for path in store.files}
    return store, Collection(
        training="digits",
        output=OUTPUT,
        expire=expire,
        kept=[package.uri for package in kept],
        kept_digests=[package.digest for package in kept] if chance.random() < 0.5 else [],
        over=sorted(run for run in runs if chance.random() < 0.5),
    )


@pytest.mark.parametrize("seed", range(300))
def test_readers_see_whole_packages_or_none_wherever_the_deleting_is_cut_off(seed: int):
    chance = random.Random(seed)
    store, collection = random_story(chance)
    before = dict(store.files)
    made = plan(collection, store.listing(collection))
    kept = {package.uri for package in store.packages} & set(collection.kept)
    wanted = [package for package in collection.expire if package.uri not in collection.kept]
    assert len(made.paths) == len(set(made.paths))
    assert set(made.packages) == {package.checkpoint for package in wanted}
    for path in made.paths:
        assert store.files.pop(path, ...) is not ...
        for package in store.packages:
            assert package.uri not in kept or (store.is_whole(package) and store.marker_of(package))
            # who sees the marker, or at least the manifest, finds every file
            manifest = f"{prefix_of(package)}/manifest.json"
            assert store.is_whole(package) or not (store.marker_of(package) or manifest in store.files)
    for path in set(before) - set(store.files):
        run, part = path.split("/")[1], path.split("/")[2]
        assert part != "logs"
        is_expired = any(
            path.startswith(prefix_of(p)) or path == layout.published_marker(p.run, p.step) for p in wanted
        )
        assert is_expired or run in collection.over
    for run in collection.over:
        assert not [path for path in store.files if path.startswith(f"runs/{run}/state/")]
        assert not [path for path in store.files if path.startswith(f"runs/{run}/attempts/") and "pod-0" in path]
    assert not [path for package in wanted for path in store.files if path.startswith(prefix_of(package))]


@pytest.mark.parametrize("seed", range(50))
def test_a_collection_that_was_cut_off_is_finished_by_the_next(seed: int):
    chance = random.Random(seed)
    store, collection = random_story(chance)
    made = plan(collection, store.listing(collection))
    expected = {path: item for path, item in store.files.items() if path not in made.paths}
    for path in made.paths[: chance.randint(0, len(made.paths))]:
        del store.files[path]
    again = plan(collection, store.listing(collection))
    for path in again.paths:
        del store.files[path]
    assert store.files == expected
    assert again.packages == made.packages


def test_nothing_is_deleted_where_nothing_of_what_is_kept_lies():
    store = Store()
    old = store.publish("run-1", 5)
    kept = package_of("run-2", 9)
    collection = Collection(training="digits", output=OUTPUT, expire=[old], kept=[kept.uri], over=["run-1"])
    with pytest.raises(CollectError, match="none of the 1 packages"):
        plan(collection, store.listing(collection))


def test_a_package_that_is_gone_counts_as_collected_only_where_the_store_is_the_right_one():
    store = Store()
    kept, gone = store.publish("run-2", 9), package_of("run-1", 5)
    collection = Collection(training="digits", output=OUTPUT, expire=[gone], kept=[kept.uri])
    made = plan(collection, store.listing(collection))
    assert (made.paths, made.packages) == ([], [gone.checkpoint])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uri": "pvc://models/other/runs/run-1/attempts/5-pod-1"}, "no package of this output"),
        ({"uri": f"{OUTPUT}/runs/run-1/attempts"}, "no package of this output"),
        ({"uri": f"{OUTPUT}/runs/run-1/attempts/6-pod-1"}, "no package of this output"),
        ({"uri": f"{OUTPUT}/runs/run-1/attempts/5-pod-7"}, "is of another package"),
        ({"digest": f"sha256:{1:064x}"}, "is of another package"),
    ],
)
def test_a_package_that_is_not_what_was_told_is_left_alone(change: dict[str, str], words: str):
    store = Store()
    kept, old = store.publish("run-2", 9), store.publish("run-1", 5)
    told = old.model_copy(update=change)
    collection = Collection(training="digits", output=OUTPUT, expire=[told], kept=[kept.uri])
    made = plan(collection, store.listing(collection))
    assert (made.paths, made.packages) == ([], [])
    assert words in made.problems[0]


def test_an_unreadable_marker_keeps_the_unfinished_packages_of_its_run():
    store = Store()
    kept = store.publish("run-2", 9)
    store.publish("run-1", 5)
    store.files[layout.published_marker("run-1", 5)] = None
    collection = Collection(training="digits", output=OUTPUT, kept=[kept.uri], over=["run-1"])
    made = plan(collection, store.listing(collection))
    assert made.paths == []
    assert "cannot be read" in made.problems[0]


def fill(root: Path) -> Collection:
    """Write two packages, a half-written one and a state into a folder; return what deletes all but the kept one."""
    store = Store()
    kept, old = store.publish("run-2", 9), store.publish("run-1", 5)
    files = dict(store.files) | dict.fromkeys([f"{layout.attempt_prefix('run-1', 7, 'pod-0')}/model.tflite"])
    files |= dict.fromkeys([layout.state_marker("run-1", 4), f"{layout.state_prefix('run-1', 4, 'pod-0')}/state.npz"])
    real = open_store(str(root))
    move = {item.uri: layout.join(str(root), prefix_of(item)) for item in (kept, old)}
    for path, marker in files.items():
        text = marker.model_copy(update={"uri": move[marker.uri]}).model_dump_json(by_alias=True) if marker else "x"
        real.write(path, text.encode())
    expire = [ExpiringPackage.model_construct(**{**old.model_dump(), "uri": move[old.uri]})]
    return Collection.model_construct(
        training="digits", output=str(root), expire=expire, kept=[move[kept.uri]], kept_digests=[], over=["run-1"]
    )


def test_a_real_folder_is_left_with_what_is_kept(tmp_path: Path):
    collection = fill(tmp_path)
    store = open_store(str(tmp_path))
    assert collect(collection, store) == Collected(packages=["run-1-5"], states=1, leftovers=1)
    assert store.list("runs/run-1") == []
    assert len(store.list("runs/run-2")) == len(FILES) + 1
    assert collect(collection, store) == Collected(packages=["run-1-5"])


def test_a_store_that_fails_while_it_is_listed_loses_nothing(tmp_path: Path):
    collection = fill(tmp_path)
    store = open_store(str(tmp_path))
    before = store.list("runs")

    def refuse(folder: str) -> list[str]:
        if folder == "runs/run-2":
            raise Unreachable("no answer")
        return type(store).list(store, folder)

    store.list = refuse  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        collect(collection, store)
    assert type(store).list(store, "runs") == before


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        ("pvc://nowhere/digits", ExitCode.FAILED, "spec.output.uri: pvc://nowhere/digits"),
        ("pvc://empty/digits", ExitCode.CONFIGURATION, "Nothing is deleted"),
        ("https://example.org/digits", ExitCode.CONFIGURATION, "spec.output.uri: https://example.org/digits"),
    ],
)
def test_a_vanished_or_wrong_store_is_told_in_the_record(tmp_path: Path, output: str, code: ExitCode, words: str):
    (tmp_path / "empty").mkdir()
    old = package_of("run-1", 5).model_copy(update={"uri": f"{output}/runs/run-1/attempts/5-pod-1"})
    kept = f"{output}/runs/run-2/attempts/9-pod-1"
    document = tmp_path / "collection.json"
    told = Collection(training="digits", output=output, expire=[old], kept=[kept])
    document.write_text(told.model_dump_json(by_alias=True))
    environment = {"MODELYARD_PVC_ROOT": str(tmp_path), "MODELYARD_TERMINATION_LOG": str(tmp_path / "record")}
    assert main(document, environment) == code
    record = Collected.model_validate_json((tmp_path / "record").read_text())
    assert (record.packages, words in record.message) == ([], True), record.message
