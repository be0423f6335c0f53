"""Object stores, through obstore: S3 and everything that speaks it, Google Cloud Storage.

Creating once is a conditional PUT: `If-None-Match: *` on S3, generation 0 on Google's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from modelyard.model.storage.errors import Changed, NotFound, Refused, StorageError, Unreachable
from modelyard.model.storage.reading import CHUNK, open_stream
from modelyard.model.storage.store import check_path

try:
    import obstore
    from obstore import exceptions
    from obstore.store import GCSStore, S3Store
except ModuleNotFoundError as error:
    raise Refused("s3:// and gs:// need the package obstore: pip install 'modelyard[s3]' or [gcs]") from error

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

__all__ = ["ObjectStore", "open_gcs", "open_s3"]

#: A store that does not answer is told of within seconds; whoever asked tries again.
_RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}

#: Answers that no repeat changes: 4xx, but for a timeout, a conflict or too many requests.
_REFUSAL = re.compile(r"status code: 4(?!08|09|29)\d\d")


def open_s3(uri: str, environment: Mapping[str, str]) -> ObjectStore:
    """Open with the AWS_* variables: ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, REGION, ENDPOINT_URL."""
    name, prefix = _split(uri)
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    options = {
        "access_key_id": environment.get("AWS_ACCESS_KEY_ID"),
        "secret_access_key": environment.get("AWS_SECRET_ACCESS_KEY"),
        "session_token": environment.get("AWS_SESSION_TOKEN"),
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        "endpoint": endpoint,
    }
    client = _client(endpoint)
    bucket = S3Store(name, client_options=client, retry_config=_RETRIES, **_given(options))
    return ObjectStore(uri, bucket, prefix, "AWS_*")


def open_gcs(uri: str, environment: Mapping[str, str]) -> ObjectStore:
    """Open with the GOOGLE_* variables: SERVICE_ACCOUNT_KEY (the key file's text), APPLICATION_CREDENTIALS (its path).

    Without either, the identity of the pod's ServiceAccount is asked for; GOOGLE_BASE_URL is another server's address.
    """
    name, prefix = _split(uri)
    options = {
        "service_account_key": environment.get("GOOGLE_SERVICE_ACCOUNT_KEY"),
        "application_credentials": environment.get("GOOGLE_APPLICATION_CREDENTIALS"),
        "base_url": environment.get("GOOGLE_BASE_URL"),
        "skip_signature": environment.get("GOOGLE_SKIP_SIGNATURE"),
    }
    # a key file may name a server of one's own, without TLS too
    client = _client("http://")
    try:
        bucket = GCSStore(name, client_options=client, retry_config=_RETRIES, **_given(options))
    except exceptions.BaseError as error:
        text = str(error).splitlines()[0][:300]
        raise Refused(f"{uri}: check the GOOGLE_* keys of spec.storage.secretNames: {text}") from error
    return ObjectStore(uri, bucket, prefix, "GOOGLE_*")


def _split(uri: str) -> tuple[str, str]:
    name, _, prefix = uri.partition("://")[2].partition("/")
    return name, prefix.strip("/")


def _given(options: Mapping[str, str | None]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}


def _client(endpoint: str | None) -> ClientConfig:
    client: ClientConfig = {"connect_timeout": "5s"}
    if endpoint and endpoint.startswith("http://"):
        client["allow_http"] = True
    return client


class ObjectStore:
    """A prefix of a bucket; `keys` are the variables that hold its credentials."""

    def __init__(self, uri: str, bucket: S3Store | GCSStore, prefix: str, keys: str) -> None:
        self.uri = uri
        self._bucket = bucket
        self._prefix = prefix
        self._keys = keys

    def read(self, path: str) -> bytes:
        """Return an object's bytes."""
        with self._told(path):
            return bytes(obstore.get(self._bucket, self._key(path)).bytes())

    def write(self, path: str, data: bytes) -> None:
        """Put an object."""
        with self._told(path):
            obstore.put(self._bucket, self._key(path), data)

    def upload(self, source: Path, path: str) -> None:
        """Put a local file, in parts if it is large; the object appears when the last part is in."""
        with self._told(path):
            obstore.put(self._bucket, self._key(path), source)

    def download(self, path: str, target: Path) -> None:
        """Stream an object to a local file."""
        with target.open("wb") as writer, self._told(path):
            for chunk in obstore.get(self._bucket, self._key(path)).stream(min_chunk_size=CHUNK):
                writer.write(chunk)

    def open(self, path: str) -> BinaryIO:
        """Stream an object; every part is asked for on condition that it is still the same."""
        meta = self._head(path)

        def fetch(offset: int) -> Iterator[bytes]:
            options: GetOptions = {"range": {"offset": offset}}
            if meta["e_tag"]:
                options["if_match"] = meta["e_tag"]
            with self._told(path):
                for chunk in obstore.get(self._bucket, self._key(path), options=options).stream(min_chunk_size=CHUNK):
                    yield bytes(chunk)

        return open_stream(f"{self.uri}/{path}", meta["size"], fetch)

    def size(self, path: str) -> int:
        """Return an object's size in bytes."""
        return int(self._head(path)["size"])

    def token(self, path: str) -> str:
        """Return an object's ETag, or time of its last change and size where there is none."""
        meta = self._head(path)
        return meta["e_tag"] or f"{meta['last_modified'].isoformat()}-{meta['size']}"

    def create_once(self, path: str, data: bytes) -> bool:
        """Put only if there is nothing; a lost reply is settled by reading back."""
        try:
            obstore.put(self._bucket, self._key(path), data, mode="create")
        except exceptions.AlreadyExistsError:
            return self.read(path) == data
        except exceptions.BaseError as error:
            raise self._error(path, error) from error
        return True

    def list(self, folder: str) -> list[str]:
        """Return every object below a folder."""
        with self._told(folder):
            prefix = self._key(folder)
            entries = [entry["path"] for batch in obstore.list(self._bucket, prefix) for entry in batch]
            cut = len(self._prefix) + 1 if self._prefix else 0
            return sorted(entry[cut:] for entry in entries)

    def delete(self, path: str) -> None:
        """Delete an object; Google's store says so when there is none."""
        with self._told(path), suppress(exceptions.NotFoundError, FileNotFoundError):
            obstore.delete(self._bucket, self._key(path))

    def _head(self, path: str) -> ObjectMeta:
        with self._told(path):
            return obstore.head(self._bucket, self._key(path))

    def _key(self, path: str) -> str:
        check_path(path)
        return f"{self._prefix}/{path}" if self._prefix else path

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except exceptions.BaseError as error:
            raise self._error(path, error) from error
        except FileNotFoundError as error:
            raise NotFound(f"{self.uri}/{path} does not exist") from error

    def _error(self, path: str, error: Exception) -> StorageError:
        where, text = f"{self.uri}/{path}", str(error).splitlines()[0][:300]
        if isinstance(error, exceptions.NotFoundError):
            return NotFound(f"{where} does not exist")
        if isinstance(error, exceptions.PreconditionError):
            return Changed(f"{where} was replaced while it was read")
        if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            return Refused(
                f"{where}: the store denies access: check the {self._keys} keys of spec.storage.secretNames: {text}"
            )
        if isinstance(error, exceptions.NotSupportedError | exceptions.InvalidPathError) or _REFUSAL.search(text):
            return Refused(f"{where}: {text}")
        return Unreachable(f"{where}: {text}")
