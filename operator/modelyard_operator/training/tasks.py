"""Tasks: the processes of a run that has several. The first is the chief; for a run of one process it is the run."""

from collections.abc import Iterable

from modelyard.contract.distribution import Task, list_tasks
from modelyard.contract.training import ModelTraining, RunStatus
from modelyard.contract.wire import ExitCode, Label
from modelyard_operator.outcome import Manifest, TrainingView
from modelyard_operator.training.telling import CONTAINER, failure_text
from modelyard_operator.troubles import container_status, is_leaving

__all__ = [
    "chiefs",
    "count_tasks",
    "exit_code",
    "index_of",
    "last_failure",
    "name_task",
    "newest_by_task",
    "runs",
    "tasks_of",
]


def tasks_of(training: ModelTraining, run: str) -> list[Task]:
    """Return every task of a run, in the order of completion indices; none if it is one process."""
    distribution = training.spec.distribution
    metadata = training.metadata
    return list_tasks(distribution, run, metadata.name, metadata.namespace) if distribution else []


def index_of(pod: Manifest) -> int:
    """Return which task a pod is an attempt at."""
    return int(pod["metadata"].get("labels", {}).get(Label.INDEX, 0))


def chiefs(pods: Iterable[Manifest]) -> list[Manifest]:
    """Return the pods of the chief, in their order."""
    return [pod for pod in pods if index_of(pod) == 0]


def newest_by_task(pods: Iterable[Manifest]) -> dict[int, Manifest]:
    """Return each task's newest pod; `pods` is ordered by age."""
    return {index_of(pod): pod for pod in pods}


def name_task(view: TrainingView, job: Manifest, index: int) -> str:
    """Return `worker 1: `, the beginning of what is told of one task of several; empty for a run of one process."""
    if job["spec"].get("completions", 1) == 1:
        return ""
    tasks = tasks_of(view.training, job["metadata"]["name"])
    # the spec may have changed since the run began
    return f"{tasks[index]}: " if len(tasks) == job["spec"]["completions"] else f"task {index}: "


def runs(pod: Manifest) -> bool:
    """Return whether the pod's training container runs."""
    return not is_leaving(pod) and bool(container_status(pod, CONTAINER).get("state", {}).get("running"))


def exit_code(pod: Manifest) -> int | None:
    """Return what a pod's training container ended with, if it has."""
    ended = container_status(pod, CONTAINER).get("state", {}).get("terminated")
    return int(ended["exitCode"]) if ended else None


def last_failure(view: TrainingView, job: Manifest, pods: list[Manifest]) -> str:
    """Return why the run's last attempt failed; empty if none did.

    A task whose peer failed ends too, to go on with it: the peer's words are the reason then.
    """
    newest = newest_by_task(pods).values()
    own = [pod for pod in newest if exit_code(pod) != ExitCode.INTERRUPTED]
    for pod in (*own, *reversed(pods)):
        if text := failure_text(pod):
            return name_task(view, job, index_of(pod)) + text
    return ""


def count_tasks(told: RunStatus, job: Manifest, pods: list[Manifest]) -> RunStatus:
    """Return the status with how many tasks run, if there are several."""
    total = int(job["spec"].get("completions", 1))
    if total == 1:
        return told
    ready = sum(runs(pod) for pod in newest_by_task(pods).values())
    return told.model_copy(update={"tasks": total, "ready_tasks": ready})
