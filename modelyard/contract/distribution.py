"""Several processes that train one model: which tasks there are, where each is found, and what `TF_CONFIG` says."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from modelyard.contract.meta import Schema

__all__ = ["TENSORFLOW_PORT", "Distribution", "Strategy", "Task", "Tasks", "list_tasks", "tf_config", "workers_service"]

#: The port that TensorFlow's own processes talk to each other on.
TENSORFLOW_PORT = 2222


class Strategy(StrEnum):
    """How the processes share the work."""

    MULTI_WORKER_MIRRORED = "MultiWorkerMirrored"
    PARAMETER_SERVER = "ParameterServer"


class Distribution(Schema):
    """Several processes that train one model together."""

    workers: Annotated[int, Field(ge=1, le=1024)]
    """Processes that compute. With `MultiWorkerMirrored` the first of them is the chief; with `ParameterServer` the
    chief, which coordinates, comes in addition."""
    strategy: Strategy = Strategy.MULTI_WORKER_MIRRORED
    """`MultiWorkerMirrored`: every worker holds the model and they go step by step together. `ParameterServer`:
    parameter servers hold the model and workers take turns; for training loops of one's own, since Keras' `fit` does
    not know it."""
    parameter_servers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Processes that hold the model; only and always with `ParameterServer`."""
    evaluator: bool = False
    """One process more that is no part of the training: its script evaluates what the chief saves."""


class Task(Schema):
    """One process of a run."""

    type: Annotated[str, Field(pattern="^(chief|worker|ps|evaluator)$")]
    """TensorFlow's own word for what it does."""
    index: Annotated[int, Field(ge=0)]
    """Its number among those of the same type."""
    address: str = ""
    """Host and port of its TensorFlow server."""

    def __str__(self) -> str:
        """Return what people call it: `worker 1`."""
        return f"{self.type} {self.index}" if self.type in ("worker", "ps") else self.type


#: Every task of a run; a task's place is the completion index of its pods. The first is the chief.
Tasks = Sequence[Task]


def workers_service(training: str) -> str:
    """Return the name of the headless Service that gives the tasks of a training their host names."""
    return f"{training}-workers"


def list_tasks(distribution: Distribution, run: str, training: str, namespace: str) -> list[Task]:
    """Return the tasks of a run in the order of their completion indices, each with its address in the cluster."""
    kinds = ["worker"] * distribution.workers
    if distribution.strategy is Strategy.PARAMETER_SERVER:
        kinds = ["chief", *kinds, *["ps"] * (distribution.parameter_servers or 1)]
    if distribution.evaluator:
        kinds.append("evaluator")
    domain = f"{workers_service(training)}.{namespace}.svc"
    return [
        Task(type=kind, index=kinds[:place].count(kind), address=f"{run}-{place}.{domain}:{TENSORFLOW_PORT}")
        for place, kind in enumerate(kinds)
    ]


def tf_config(tasks: Tasks, place: int) -> dict[str, Any]:
    """Return what `TF_CONFIG` says to the task at a place; the evaluator is no part of the cluster."""
    cluster: dict[str, list[str]] = {}
    for task in tasks:
        if task.type != "evaluator":
            cluster.setdefault(task.type, []).append(task.address)
    mine = tasks[place]
    return {"cluster": cluster, "task": {"type": mine.type, "index": mine.index}}
