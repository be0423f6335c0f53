"""Who may ask, and how: API keys and a certificate from mounted Secrets, read again when the Secrets change."""

import asyncio
import hmac
import ssl
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from modelyard_server.asking import RequestError

__all__ = ["Certificate", "KeyRing"]

#: How often the folder is looked at, in seconds; the kubelet itself takes up to a minute.
_PERIOD = 2.0


class KeyRing:
    """The keys of a folder: one a file, as a mounted Secret shows them."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock
        self._next_look = 0.0
        self._digests: tuple[bytes, ...] = ()

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise RequestError unless `Authorization: Bearer KEY` or `x-api-key: KEY` names a key."""
        self._look()
        scheme, _, told = headers.get("Authorization", "").partition(" ")
        given = told.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = sha256(given.encode(errors="replace")).digest()
        # every key is compared, whichever fits: the time says nothing
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not given or not any(matches):
            why = "the API key is not known" if given else "an API key is needed: `Authorization: Bearer KEY`"
            raise RequestError(why, 401, {"WWW-Authenticate": "Bearer"})

    def _look(self) -> None:
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + _PERIOD
        try:
            files = sorted(path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith("."))
            keys = [path.read_bytes().strip() for path in files]
        except OSError as error:
            # half-replaced mounts mend themselves: the known keys stay good until then
            print(f"the API keys could not be read: {error}", flush=True)
            return
        self._digests = tuple(sha256(key).digest() for key in keys if key)


class Certificate:
    """`tls.crt` and `tls.key` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded = self.pair()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """For the HTTP port; new connections get the newest certificate."""
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load()

    def pair(self) -> tuple[bytes, bytes]:
        """Return key and certificate chain, PEM, as they are now."""
        return (self._folder / "tls.key").read_bytes(), (self._folder / "tls.crt").read_bytes()

    async def watch(self) -> None:
        """Load the certificate again whenever it changes; runs until it is cancelled."""
        while True:
            await asyncio.sleep(_PERIOD)
            try:
                found = self.pair()
                if found != self._loaded:
                    self._load()
                    self._loaded = found
            except (OSError, ssl.SSLError) as error:
                # a half-replaced mount: the known certificate stays in use, and the next look mends it
                print(f"the certificate could not be read: {error}", flush=True)

    def _load(self) -> None:
        self.context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")
