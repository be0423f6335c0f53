"""How a serving process answers: the part of a ModelServing's spec that reaches the process unchanged."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from modelyard.contract.meta import Schema

__all__ = ["Admission", "Batching", "Cache", "Monitoring", "Objective", "ServingOptions"]


class Objective(StrEnum):
    """What the pods are tuned for."""

    LATENCY = "Latency"
    THROUGHPUT = "Throughput"


class Batching(Schema):
    """How requests are put together, with `objective: Throughput`."""

    max_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Most instances of a batch; absent: where the cost curve measured at warm-up stops falling."""
    max_delay_milliseconds: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How long the first request of a batch waits for others at most. With 0 a batch is what waits when a computation
    ends or, if none is under way, what has arrived by now."""


class Admission(Schema):
    """What is accepted before any work is done. The rest is refused at once, with `Retry-After`."""

    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Most requests that wait for a computation; more are refused with 429."""
    deadline_milliseconds: Annotated[int, Field(ge=1, le=600_000)] = 10_000
    """How long a request may take when it does not say (`x-modelyard-deadline-ms`); what cannot be answered by then
    is refused with 503 before it is computed."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 32 << 20
    """Largest request body; larger ones are refused with 413."""
    max_instances: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Most instances of one request; more are refused with 413."""


class Cache(Schema):
    """Answers that are given again without computing, per model version."""

    entries: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Most answers kept, the least recently used goes first; 0 keeps none. Keys are exact encoded features."""
    max_age_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 0
    """How long clients and proxies may keep the answer of a GET (`Cache-Control`); 0: they ask again each time."""


class Monitoring(Schema):
    """What the process watches and writes down."""

    distributions: bool = True
    """Whether features and predictions are counted and compared with the baseline."""
    prediction_log: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of requests written as JSON lines, with an id, features and answer."""
    prediction_log_file: Annotated[str, StringConstraints(pattern=r"^/[^\x00]+$", max_length=512)] | None = None
    """File that they are appended to, replaced at 64 MiB with four older ones kept; absent: standard output."""


class ServingOptions(Schema):
    """How a serving process answers."""

    objective: Objective = Objective.LATENCY
    """`Latency`: each request is computed at once, alone. `Throughput`: requests are computed in batches."""
    batching: Batching = Field(default_factory=Batching)
    """How batches are formed."""
    admission: Admission = Field(default_factory=Admission)
    """What is accepted."""
    cache: Cache = Field(default_factory=Cache)
    """Which answers are kept."""
    lookup: bool = True
    """Whether the package's table of precomputed answers is used, if it has one."""
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    """Computations at a time; absent: the cores that the container may use."""
    variant: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """Variant of the model, for example `int8`; absent: the fastest that publishing allowed."""
    monitoring: Monitoring = Field(default_factory=Monitoring)
    """What is watched."""
