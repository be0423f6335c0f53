"""The application's side: one interface to a model, whether it is embedded in the process or served elsewhere.

model = connect("http://digits.team.svc", "digits")     # or connect("s3://bucket/digits/…"), in process
async with model:
    answer = await model.predict({"price": 120, "country": "nl"})
"""

import os
from typing import Any

from modelyard.client.calling import CallError, DeadlineExceeded, Overloaded, Refused
from modelyard.client.embedded import EmbeddedModel
from modelyard.client.interface import Client
from modelyard.client.remote import RemoteModel
from modelyard.client.sync import SyncClient

__all__ = [
    "CallError",
    "Client",
    "DeadlineExceeded",
    "EmbeddedModel",
    "Overloaded",
    "Refused",
    "RemoteModel",
    "SyncClient",
    "connect",
    "connect_sync",
]


def connect(address: str | os.PathLike[str], name: str | None = None, **options: Any) -> Client:
    """Return a client of the model at an address.

    `http://…` and `https://…` with the model's name are a server, with the options of `RemoteModel`; anything else is
    the URI or path of a package, opened in this process, with the options of `modelyard.open`.
    """
    text = os.fspath(address)
    if text.startswith(("http://", "https://")) and name is not None:
        return RemoteModel(text, name, **options)
    return EmbeddedModel(text, **options)


def connect_sync(address: str | os.PathLike[str], name: str | None = None, **options: Any) -> SyncClient:
    """Return the same for programs without asyncio."""
    return SyncClient(lambda: connect(address, name, **options))
