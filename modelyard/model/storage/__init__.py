"""Stores behind one small protocol: where data is read from and packages are kept.

`open_store(uri)` gives a `Store` for files, `pvc://CLAIM/PATH`, `hdfs://NAMENODE:PORT/PATH`, `s3://BUCKET/PATH`,
`gs://BUCKET/PATH` and, for reading only, http(s).
"""

import os
from collections.abc import Mapping
from pathlib import Path

from modelyard.contract.wire import PVC_ROOT, Environment
from modelyard.model.storage.errors import Changed, Full, NotFound, Refused, StorageError, Unreachable
from modelyard.model.storage.files import FileStore
from modelyard.model.storage.patient import PatientStore
from modelyard.model.storage.store import Store, check_path

__all__ = [
    "Changed",
    "Full",
    "NotFound",
    "PatientStore",
    "Refused",
    "StorageError",
    "Store",
    "Unreachable",
    "check_path",
    "open_store",
]


def open_store(uri: str, environment: Mapping[str, str] = os.environ) -> Store:
    """Return the store at a URI or a local path; raise Refused if there is no such kind of store."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return FileStore(uri, Path(uri).absolute())
    if scheme == "file":
        return FileStore(uri, Path("/" + rest.lstrip("/")))
    if scheme == "pvc":
        check_path(rest)
        claim = rest.split("/", 1)[0]
        root = Path(environment.get(Environment.PVC_ROOT) or PVC_ROOT)
        if not (root / claim).is_dir():
            raise NotFound(f"{uri}: the claim {claim} is not mounted at {root / claim}")
        return FileStore(uri, root / rest)
    if scheme == "s3":
        from modelyard.model.storage.objects import open_s3

        return open_s3(uri, environment)
    if scheme == "gs":
        from modelyard.model.storage.objects import open_gcs

        return open_gcs(uri, environment)
    if scheme == "hdfs":
        from modelyard.model.storage.hdfs import HdfsStore

        return HdfsStore.at(uri, environment)
    if scheme in ("http", "https"):
        from modelyard.model.storage.web import WebStore

        return WebStore(uri)
    raise Refused(f"{uri}: no store for {scheme}://; there are pvc://, hdfs://, s3://, gs://, https:// and local paths")
