"""The record of prepare steps: which have been done and need not be done again, and the one under way."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from modelyard.contract.meta import DnsSubdomain, Schema

__all__ = ["PreparedStep", "StepName", "StepStatus"]

StepName = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]


class PreparedStep(Schema):
    """A prepare step that is done; it is not done again while nothing of it changes."""

    name: StepName
    """The step's name."""
    job: DnsSubdomain
    """The Job that did it: a function of the step, of the steps before it, and of the retrain token."""
    output: Annotated[str, StringConstraints(max_length=1200)]
    """The folder that holds what it made."""
    completion_time: datetime
    """When it was done."""
    message: Annotated[str, StringConstraints(max_length=256)] = ""
    """What it said of its work."""


class StepStatus(Schema):
    """The prepare step under way, as its pod tells it."""

    name: StepName
    """The step's name."""
    job: DnsSubdomain
    """Its Job."""
    phase: Annotated[str, StringConstraints(max_length=16)]
    """Where it stands: `Pending`, `Running`, `Suspended`, `Failed`."""
    reason: Annotated[str, StringConstraints(max_length=63)] | None = None
    """One word on why it waits or failed."""
    pod: DnsSubdomain | None = None
    """The newest attempt's pod, for `kubectl logs`."""
    activity: Annotated[str, StringConstraints(max_length=63)] | None = None
    """What its process is doing."""
    progress_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """How much of it is done, if its program says so."""
    eta_seconds: int | None = None
    """Estimated seconds until it is done."""
    attempts: int = 0
    """Pods started for it so far."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    """A sentence on what happens, or why it failed."""
