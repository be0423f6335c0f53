"""What the three custom resources share: the base model, metadata, conditions and bounded types."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

__all__ = [
    "API_VERSION",
    "GROUP",
    "VERSION",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Conditions",
    "Digest",
    "DnsLabel",
    "DnsSubdomain",
    "Metadata",
    "MetricName",
    "Metrics",
    "ModelRuntime",
    "Resource",
    "Schema",
    "Uri",
]

GROUP = "modelyard.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

#: A name usable as part of a child's name: children add at most 18 characters to it.
DnsLabel = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
DnsSubdomain = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]
MetricName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_./-]*$")]
Digest = Annotated[str, StringConstraints(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
#: Where data or packages lie. `pvc://CLAIM/PATH` is a PersistentVolumeClaim of the same namespace.
Uri = Annotated[
    str,
    StringConstraints(
        min_length=8,
        max_length=1024,
        pattern=r"^(pvc|hdfs|s3|gs|https?)://[A-Za-z0-9][A-Za-z0-9._:-]*(/[^\s?#]*)?$",
    ),
]


class Schema(BaseModel):
    """Base of everything on the wire: camelCase, frozen, unknown fields refused, docstrings as descriptions."""

    model_config = ConfigDict(
        defer_build=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def document(self) -> dict[str, Any]:
        """Return the JSON document: camelCase keys, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(Schema):
    """The part of an object's metadata that Modelyard reads."""

    model_config = ConfigDict(defer_build=True, extra="ignore")

    name: str
    namespace: str = "default"
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class ConditionStatus(StrEnum):
    """The three values a Kubernetes condition can have."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """Every condition type; the stage that owns one has the same name."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PREPARED = "Prepared"
    TRAINED = "Trained"
    PUBLISHED = "Published"
    PASSED = "Passed"
    AVAILABLE = "Available"
    PROGRESSING = "Progressing"


class Condition(Schema):
    """One condition in Kubernetes' own form (`metav1.Condition`)."""

    type: Annotated[str, StringConstraints(max_length=63)]
    """What is said, for example `Ready`."""
    status: ConditionStatus
    """`True`, `False` or `Unknown`."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """One PascalCase word for programs."""
    message: Annotated[str, StringConstraints(max_length=4096)] = ""
    """A sentence for people; for a user's error it names the field and the fix."""
    last_transition_time: datetime
    """When `status` last changed."""
    observed_generation: int = 0
    """The generation of the resource this was concluded from."""


Conditions = Annotated[
    list[Condition],
    Field(
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]
#: What was measured, by metric name.
Metrics = Annotated[dict[MetricName, float], Field(max_length=128)]


class ModelRuntime(StrEnum):
    """What executes a model."""

    LITERT = "LiteRT"
    TENSORFLOW = "TensorFlow"


class Resource(Schema):
    """A custom resource as read from the API; unknown top-level fields are ignored."""

    model_config = ConfigDict(defer_build=True, extra="ignore")

    metadata: Metadata

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @classmethod
    def read(cls, body: dict[str, Any]) -> Self:
        """Validate an object from the API server."""
        return cls.model_validate(body)
