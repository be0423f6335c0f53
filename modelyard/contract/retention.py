"""Retention: which packages of a training are kept, and what a collecting Job is told and tells."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from modelyard.contract.meta import Digest, DnsSubdomain, Schema, Uri

__all__ = ["COLLECTION_DOCUMENT", "Collected", "Collection", "ExpiringPackage", "Retention", "RetentionStatus"]

#: Key of the collecting Job's ConfigMap that holds the `Collection`.
COLLECTION_DOCUMENT = "collection.json"


class Retention(Schema):
    """Which packages are kept. The others are deleted by a Job with the storage access of the training's own pods."""

    keep: Annotated[int, Field(ge=1, le=1000)] = 10
    """How many of the newest are kept. Kept too: what a ModelServing of the namespace names, serves or may go back
    to, the two newest that passed the gate, and every package with a ModelCheckpoint that a person wrote."""
    min_age_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 3600
    """A package is not deleted before it is this old."""


class ExpiringPackage(Schema):
    """A package that is to be deleted."""

    checkpoint: DnsSubdomain
    """Name of its ModelCheckpoint, which goes first: nothing can choose the package any more."""
    uri: Uri
    """Its folder."""
    digest: Digest
    """SHA-256 of its manifest: a package that is another one is left alone."""
    run: DnsSubdomain
    """The run that published it."""
    step: int
    """Training step."""


class RetentionStatus(Schema):
    """What has been collected, and what will be."""

    expiring: Annotated[list[ExpiringPackage], Field(max_length=50)] = Field(default_factory=list)
    """Packages that the next collecting Job deletes, unless something names them by then."""
    since: datetime | None = None
    """When the list last changed."""
    job: DnsSubdomain | None = None
    """The last collecting Job that ended."""
    last_time: datetime | None = None
    """When it ended."""
    collected: int = 0
    """Packages deleted so far."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    """What the last collection did, or why it failed."""


class Collection(Schema):
    """What a collecting Job is told: everything it may delete is named here."""

    training: str
    output: str
    """The output URI; nothing outside of it is touched."""
    expire: list[ExpiringPackage] = Field(default_factory=list)
    """Packages to delete."""
    kept: list[str] = Field(default_factory=list)
    """URIs of packages that are never deleted. At least one of those below `output` must be seen, or nothing is."""
    kept_digests: list[str] = Field(default_factory=list)
    """Digests of such packages."""
    over: list[str] = Field(default_factory=list)
    """Runs that ended for good more than a day ago: their saved states and half-written packages go."""


class Collected(Schema):
    """The termination message of a collecting pod, at most 4,096 bytes."""

    model_config = ConfigDict(extra="ignore")

    packages: list[str] = Field(default_factory=list)
    """ModelCheckpoints whose packages are gone."""
    states: int = 0
    """Runs whose saved states were deleted."""
    leftovers: int = 0
    """Half-written packages that were deleted."""
    message: str = ""
    """What was left alone and why, or why nothing was deleted."""
