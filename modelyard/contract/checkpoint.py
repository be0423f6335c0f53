"""`ModelCheckpoint`: a published package, the gate's verdict on it, and where it serves."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from modelyard.contract.meta import (
    Conditions,
    Digest,
    DnsLabel,
    DnsSubdomain,
    Metrics,
    ModelRuntime,
    Resource,
    Schema,
    Uri,
)

__all__ = [
    "CheckResult",
    "CheckpointReason",
    "CheckpointSpec",
    "CheckpointStatus",
    "ModelCheckpoint",
    "Verdict",
]


class CheckpointSpec(Schema):
    """Which package this is. It never changes."""

    uri: Uri
    """The package's folder."""
    digest: Digest
    """SHA-256 of the package's `manifest.json`: what is served is exactly this, or nothing."""
    training: DnsLabel | None = None
    """The ModelTraining of the same namespace that made it; absent for a model trained elsewhere."""
    run: DnsSubdomain | None = None
    """The run that published it."""
    step: Annotated[int, Field(ge=0)] = 0
    """Training step."""
    metrics: Metrics = Field(default_factory=dict)
    """What was measured on held-out data."""
    runtime: ModelRuntime = ModelRuntime.LITERT
    """What executes it: `TensorFlow` for a model that LiteRT cannot hold; it needs the larger serving image."""


class CheckResult(Schema):
    """One named check of the gate."""

    name: Annotated[str, StringConstraints(max_length=128)]
    """The metric."""
    passed: bool
    """Whether the threshold held."""
    message: Annotated[str, StringConstraints(max_length=512)]
    """For example `accuracy 0.91 is below the floor 0.95`."""


class Verdict(Schema):
    """What the gate said."""

    passed: bool
    """Whether every check passed."""
    gate: Annotated[str, StringConstraints(max_length=63)]
    """Hash of the gate that was applied; another gate is applied anew."""
    checks: Annotated[list[CheckResult], Field(max_length=64)] = Field(default_factory=list)
    """Check by check."""


class CheckpointReason(StrEnum):
    """Reasons of a checkpoint's conditions and events."""

    GATE_PASSED = "GatePassed"
    GATE_FAILED = "GateFailed"
    NOT_GATED = "NotGated"
    TRAINING_NOT_FOUND = "TrainingNotFound"
    INVALID = "Invalid"


class CheckpointStatus(Schema):
    """The gate's verdict, check by check, and where the checkpoint serves."""

    observed_generation: int = 0
    """The generation this status was concluded from."""
    conditions: Conditions = Field(default_factory=list)
    """`Ready` (the verdict is known) and `Passed`."""
    verdict: Verdict | None = None
    """What the gate said."""
    gate: Annotated[str, StringConstraints(max_length=256)] | None = None
    """For people: `Passed`, `Failed: accuracy 0.91 is below the floor 0.95`, `NotGated`."""
    headline: Annotated[str, StringConstraints(max_length=128)] | None = None
    """The first gated metric, for people: `accuracy=0.97`."""
    serving: Annotated[list[DnsLabel], Field(max_length=1000)] = Field(default_factory=list)
    """ModelServings whose stable or candidate revision serves it."""


class ModelCheckpoint(Resource):
    """A finished model package. The operator writes one for each publication; people may write them by hand."""

    spec: CheckpointSpec
    status: CheckpointStatus = Field(default_factory=CheckpointStatus)
