"""Parts of a spec that reach pods unchanged: resources, scheduling, storage access."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from modelyard.contract.meta import DnsSubdomain, Schema

__all__ = ["Quantity", "Resources", "Scheduling", "Storage", "Toleration"]

Quantity = Annotated[str, StringConstraints(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$")]
ResourceName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317)]


class Resources(Schema):
    """Compute resources of a container, as in a pod's `resources`."""

    requests: dict[ResourceName, Quantity] = Field(default_factory=dict, max_length=16)
    """What the scheduler reserves, for example `cpu: 500m`, `memory: 1Gi`, `nvidia.com/gpu: "1"`."""
    limits: dict[ResourceName, Quantity] = Field(default_factory=dict, max_length=16)
    """What the container may use at most; memory above it ends the container."""


class Toleration(Schema):
    """A taint that the pods tolerate, as in a pod's `tolerations`."""

    key: Annotated[str, StringConstraints(max_length=317)] | None = None
    """The taint's key; absent with `operator: Exists` tolerates every taint."""
    operator: Annotated[str, StringConstraints(max_length=16, pattern="^(Exists|Equal)$")] = "Equal"
    """`Equal` compares the value, `Exists` only the key."""
    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """The taint's value."""
    effect: (
        Annotated[str, StringConstraints(max_length=32, pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$")] | None
    ) = None
    """Which effect is tolerated; absent tolerates all."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How many seconds a `NoExecute` taint is tolerated."""


class Scheduling(Schema):
    """Where the pods may run."""

    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=32)
    """Labels that a node must have."""
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32)
    """Taints that the pods tolerate."""
    affinity: dict[str, Any] | None = None
    """Node and pod affinity, as in a pod's `affinity`."""
    priority_class_name: DnsSubdomain | None = None
    """The PriorityClass of the pods."""
    runtime_class_name: DnsSubdomain | None = None
    """The RuntimeClass of the pods."""


class Storage(Schema):
    """How the pods get at the store. The operator itself never reads these Secrets."""

    secret_names: list[DnsSubdomain] = Field(default_factory=list, max_length=8)
    """Secrets of this namespace whose keys become environment variables of the pods, for example
    `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`."""
    service_account_name: DnsSubdomain | None = None
    """The ServiceAccount of the pods, for stores that know workload identity. Its API token is not mounted."""
