"""One run trains on one version of its data: the first attempt writes down which, the others compare."""

import json
from collections.abc import Mapping

from modelyard.contract import layout
from modelyard.model.storage import Store
from modelyard.training.sources import Source

__all__ = ["settle"]


def settle(store: Store, run: str, source: Source, versions: Mapping[str, str]) -> None:
    """Keep the versions with the run, or raise DataChangedError if its earlier attempts read others."""
    path = layout.data_record(run, source.name)
    record = json.dumps({"uri": source.uri, "versions": versions}, sort_keys=True).encode()
    if not store.create_once(path, record):
        before = json.loads(store.read(path))["versions"]
        source.compare(before, versions, "since this run began")
