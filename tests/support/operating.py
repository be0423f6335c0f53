"""The operator without its process: its store, queue and passes on the cluster in memory, second by second."""

import asyncio
from collections.abc import Callable
from typing import Any

from modelyard.contract.wire import Termination
from modelyard_operator.metrics import Metrics
from modelyard_operator.noticing import Notices
from modelyard_operator.reconciling import Reconciler
from modelyard_operator.resyncing import WATCHED, Resync
from modelyard_operator.sampling import Samples
from modelyard_operator.store import Key, Store
from modelyard_operator.working import work_once
from modelyard_operator.workqueue import WorkQueue
from tests.support.cluster import Api, Clock, Crash, World
from tests.support.objects import DEFAULTS, NOW, package

Json = dict[str, Any]
NAMESPACE = "team"


class Operator:
    """One life of the operator."""

    def __init__(self, api: Api, clock: Clock, notice: Callable[[str, Json], bool]) -> None:
        self._notice = notice
        self.queue: WorkQueue[Key] = WorkQueue(clock.monotonic, lambda: 0.5)
        self.metrics = Metrics()
        self._store = Store()
        self._notices = Notices(self._store, self.queue)
        self.passes = Reconciler(api, self._store, self._notices, Samples(), defaults=DEFAULTS, now=clock.now)
        self.resync = Resync(
            api,
            self._store,
            self._notices,
            self.queue,
            namespaces=(),
            metrics=self.metrics,
            clock=clock.monotonic,
            jitter=lambda: 0.5,
        )

    def hear(self, event: str, body: Json) -> None:
        if body["kind"] not in WATCHED:
            return
        label, _, value = WATCHED[body["kind"]].partition("=")
        if label and body["metadata"].get("labels", {}).get(label) != value:
            return
        if not self._notice(event, body):
            return
        (self._notices.gone if event == "DELETED" else self._notices.seen)(body)

    async def work(self) -> None:
        """Make passes until nothing is due."""
        for _ in range(200):
            key = self.queue.take()
            if key is None:
                return
            await work_once(self.queue, key, self.passes, self.metrics)
        raise AssertionError(f"passes without end: {key}")


class Story:
    """A cluster with an operator in it; `accuracy` says what a training reaches with its hyperparameters."""

    def __init__(self) -> None:
        self.clock = Clock(NOW)
        self.api = Api(self.clock)
        self.world = World(self.api, self.clock)
        self.world.train = self._train
        self.accuracy: Callable[[Json], float] = lambda hyperparameters: hyperparameters.get("accuracy", 0.97)
        self.notice: Callable[[str, Json], bool] = lambda event, body: True
        self.lives = 0
        self.least_ready: dict[str, int] = {}
        self.operator: Operator | None = None

    async def restart(self) -> None:
        """Begin another life of the operator with a complete list."""
        self.lives += 1
        operator = Operator(self.api, self.clock, lambda event, body: self.notice(event, body))
        self.api.listeners = [operator.hear]
        self.operator = operator
        await operator.resync.once()

    async def second(self) -> None:
        """Let everything act, then let a second pass."""
        try:
            if self.operator is None:
                await self.restart()
            assert self.operator is not None
            await self.operator.work()
        except Crash:
            self.operator, self.api.listeners = None, []
        self.world.step()
        self.clock.seconds += 1

    async def until(self, check: Callable[[], bool], seconds: int = 300) -> None:
        """Let time pass until something is so."""
        for _ in range(seconds):
            await self.second()
            if check():
                return
        raise AssertionError(f"not within {seconds} s; {self.told()}")

    async def settle(self, seconds: int = 45) -> None:
        for _ in range(seconds):
            await self.second()

    def run(self, play: Callable[["Story"], Any]) -> "Story":
        asyncio.run(play(self))
        return self

    def get(self, kind: str, name: str) -> Json:
        return self.api.objects[Key(kind, NAMESPACE, name)]

    def is_ready(self, kind: str, name: str) -> bool:
        body = self.get(kind, name)
        status = body.get("status", {})
        said = {item["type"]: item["status"] for item in status.get("conditions", ())}
        return status.get("observedGeneration") == body["metadata"]["generation"] and said.get("Ready") == "True"

    def ready_pods(self) -> int:
        pods = self.api.of_kind("Pod")
        return sum(pod["status"].get("conditions", [{}])[0].get("type") == "Ready" for pod in pods)

    def told(self) -> list[str]:
        kinds = ("ModelTraining", "ModelServing", "ModelCheckpoint")
        return [
            f"{kind} {body['metadata']['name']}: {body.get('status')}"
            for kind in kinds
            for body in self.api.of_kind(kind)
        ]

    def apply(self, *manifests: Json) -> None:
        for manifest in manifests:
            self.api.apply_as_user(manifest)

    def _train(self, document: Json) -> tuple[int, str]:
        hyperparameters = document.get("hyperparameters", {})
        if hyperparameters.get("raises"):
            return 64, Termination(phase="Failed", message="ValueError: no (train.py, line 1)").model_dump_json()
        if document.get("step"):
            return 0, Termination(phase="Done", message="prepared").model_dump_json()
        step = int(hyperparameters.get("step", 10))
        published = package(step, accuracy=self.accuracy(hyperparameters))
        record = Termination(phase="Done", step=step, published=[published])
        return 0, record.model_dump_json(by_alias=True)


def training(name: str = "digits", **spec: Any) -> Json:
    """A training gated at 0.9."""
    gate = {"metrics": [{"name": "accuracy", "floor": 0.9}]}
    return _manifest(
        "ModelTraining", name, {"module": "m", "output": {"uri": "pvc://models/digits"}, "gate": gate} | spec
    )


def serving(name: str = "digits", **spec: Any) -> Json:
    return _manifest("ModelServing", name, {"model": {"training": "digits"}, "replicas": 3} | spec)


def _manifest(kind: str, name: str, spec: Json) -> Json:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
