"""Workers: take keys from the queue, make their passes, and say when each key is looked at again."""

import logging
import time
from typing import Protocol

from modelyard_operator.kube.client import Conflict, Forbidden, Invalid, KubeError, Throttled, Unreachable
from modelyard_operator.metrics import Metrics
from modelyard_operator.store import Key
from modelyard_operator.workqueue import WorkQueue

__all__ = ["WORKERS", "work", "work_once"]

#: Passes at a time.
WORKERS = 16
_LOG = logging.getLogger(__name__)


class Passes(Protocol):
    """What makes passes."""

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return the seconds until the next look."""


async def work(queue: WorkQueue[Key], passes: Passes, metrics: Metrics) -> None:
    """Make passes for ever."""
    while True:
        await work_once(queue, await queue.get(), passes, metrics)


async def work_once(queue: WorkQueue[Key], key: Key, passes: Passes, metrics: Metrics) -> None:
    """Make the pass of a key that was taken from the queue."""
    began = time.perf_counter()
    result = "ok"
    try:
        again = await passes.reconcile(key)
        queue.forgive(key)
        if again is not None:
            queue.add_after(key, again)
    except Conflict:
        result = "conflict"
        queue.retry(key)
    except KubeError as error:
        result = _WORDS.get(type(error), "error")
        delay = queue.retry(key, error.retry_after)
        fields = {"kind": key.kind, "key": str(key), "error": str(error), "again_in": round(delay, 1)}
        _LOG.warning("pass failed", extra=fields)
    except Exception:
        result = "bug"
        delay = queue.retry(key)
        _LOG.exception("pass broke", extra={"kind": key.kind, "key": str(key), "again_in": round(delay, 1)})
    finally:
        queue.done(key)
        metrics.passes.labels(key.kind, result).inc()
        metrics.pass_seconds.labels(key.kind).observe(time.perf_counter() - began)


_WORDS: dict[type[KubeError], str] = {
    Invalid: "refused",
    Forbidden: "forbidden",
    Throttled: "throttled",
    Unreachable: "unreachable",
}
