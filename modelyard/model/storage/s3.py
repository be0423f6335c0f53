"""S3 and everything that speaks it, through obstore. Creating once is a conditional PUT (`If-None-Match: *`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.model.storage.errors import NotFound, Refused, StorageError, Unreachable
from modelyard.model.storage.store import check_path

try:
    import obstore
    from obstore import exceptions
    from obstore.store import S3Store as Bucket
except ModuleNotFoundError as error:
    raise Refused("s3:// needs the package obstore: pip install 'modelyard[s3]'") from error

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

__all__ = ["S3Store"]

#: A store that does not answer is told of within seconds; whoever asked tries again.
_RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}


class S3Store:
    """A prefix of a bucket."""

    def __init__(self, uri: str, bucket: Bucket, prefix: str) -> None:
        self.uri = uri
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def open(cls, uri: str, environment: Mapping[str, str]) -> S3Store:
        """Open with the AWS_* variables: ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, REGION, ENDPOINT_URL."""
        name, _, prefix = uri.removeprefix("s3://").partition("/")
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
        options = {
            "access_key_id": environment.get("AWS_ACCESS_KEY_ID"),
            "secret_access_key": environment.get("AWS_SECRET_ACCESS_KEY"),
            "session_token": environment.get("AWS_SESSION_TOKEN"),
            "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
            "endpoint": endpoint,
        }
        given = {name: value for name, value in options.items() if value}
        client: ClientConfig = {"connect_timeout": "5s"}
        if endpoint and endpoint.startswith("http://"):
            client["allow_http"] = True
        bucket = Bucket(name, client_options=client, retry_config=_RETRIES, **given)
        return cls(uri, bucket, prefix.strip("/"))

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
        with self._told(path), target.open("wb") as writer:
            for chunk in obstore.get(self._bucket, self._key(path)).stream(min_chunk_size=1 << 20):
                writer.write(chunk)

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
        """Delete an object."""
        with self._told(path):
            obstore.delete(self._bucket, self._key(path))

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
        if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            return Refused(
                f"{where}: the store denies access: check the AWS_* keys of spec.storage.secretNames: {text}"
            )
        if isinstance(error, exceptions.NotSupportedError | exceptions.InvalidPathError):
            return Refused(f"{where}: {text}")
        return Unreachable(f"{where}: {text}")
