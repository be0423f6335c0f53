"""Passes: gather a view, let the stages decide, apply, delete, write the status once, tell events.

A pass may be repeated or cut off anywhere: children have names that follow from their parent and cause, writes carry
the whole intent, deletions name a UID and status writes a resourceVersion.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from modelyard.contract.meta import Condition
from modelyard.contract.training import ModelTraining, TrainingReason
from modelyard_operator import checkpoint, serving, training
from modelyard_operator.conditions import conclude_conditions, stalled
from modelyard_operator.gathering import checkpoint_view, serving_view, training_view
from modelyard_operator.kube.applying import Applier, Taken
from modelyard_operator.kube.client import KINDS, Conflict, Forbidden, Invalid, KubeApi, NotFound
from modelyard_operator.kube.recorder import Recorder
from modelyard_operator.noticing import Notices
from modelyard_operator.outcome import Deletion, Event, Manifest, OperatorDefaults, Outcome
from modelyard_operator.sampling import Samples
from modelyard_operator.scripts import Scripts
from modelyard_operator.store import Key, Store, key_of

__all__ = ["STATUS_MANAGER", "Reconciler"]

Json = dict[str, Any]

STATUS_MANAGER = "modelyard-operator-status"
_LOG = logging.getLogger(__name__)


class Refused(Exception):
    """The API server will not have a child; a person must act."""


class Reconciler:
    """Carries out passes."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        notices: Notices,
        samples: Samples,
        *,
        defaults: OperatorDefaults,
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._store = store
        self._notices = notices
        self._samples = samples
        self._defaults = defaults
        self._now = now
        self._applier = Applier(api)
        self._recorder = Recorder(api, now)
        self._scripts = Scripts(api, now)

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return the seconds until the next look, if one is wanted; raise KubeError."""
        body = self._store.get(key)
        if body is None:
            self._scripts.forget(str(key))
            return None
        try:
            outcome = await self._decide(key, body)
        except ValidationError as error:
            # the schema of the CRD keeps this out; an object from before a change of it may still be there
            problem = error.errors()[0]
            field = ".".join(map(str, problem["loc"]))
            await self._recorder.post(body, Event("Warning", "Invalid", f"{field}: {problem['msg']}"))
            return None
        refusal: Refused | None = None
        try:
            await self._apply(outcome.apply)
        except Refused as error:
            refusal = error
        await self._delete(outcome.delete)
        status = outcome.status.document() if refusal is None else _stalled(outcome, str(refusal), body, self._now())
        if await self._write_status(body, status):
            for event in outcome.events:
                await self._recorder.post(body, event)
        if refusal is not None:
            raise Invalid(str(refusal))
        return outcome.requeue_after

    async def _decide(self, key: Key, body: Json) -> Outcome:
        now = self._now()
        if key.kind == "ModelCheckpoint":
            return checkpoint.conclude(checkpoint_view(self._store, body), now)
        if key.kind == "ModelServing":
            return serving.conclude(serving_view(self._store, body, self._defaults, self._samples.summaries), now)
        resource = ModelTraining.read(body)
        scripts = await self._scripts.read(resource)
        view = training_view(self._store, resource, self._defaults, scripts, self._samples.progress)
        outcome = training.conclude(view, now)
        look = scripts.look_again
        if look is None:
            return outcome
        soonest = min(look, outcome.requeue_after or look)
        return Outcome(outcome.status, outcome.apply, outcome.delete, outcome.events, soonest)

    async def _apply(self, manifests: Iterable[Manifest]) -> None:
        for manifest in manifests:
            live = self._store.get(key_of(manifest))
            try:
                result = await self._applier.apply(manifest, live)
            except Taken as error:
                raise Refused(str(error)) from error
            except (Invalid, Forbidden) as error:
                name = f"{manifest['kind']} {manifest['metadata']['name']}"
                raise Refused(f"the API server refuses {name}: {error}") from error
            if result is None:
                continue
            self._notices.seen(_complete(result, manifest))
            _LOG.info("applied", extra={"kind": manifest["kind"], "key": str(key_of(manifest))})

    async def _delete(self, deletions: Iterable[Deletion]) -> None:
        for deletion in deletions:
            key = Key(deletion.kind, deletion.namespace, deletion.name)
            try:
                await self._api.delete(KINDS[deletion.kind], deletion.namespace, deletion.name, deletion.uid)
            except (NotFound, Conflict):
                continue  # it is gone, or another one has its name
            _LOG.info("deleted", extra={"kind": deletion.kind, "key": str(key)})

    async def _write_status(self, body: Json, status: Json) -> bool:
        """Write a status if it differs from the one this pass was given; return whether the world now has it anew."""
        if status == body.get("status", {}):
            return False
        metadata = body["metadata"]
        identity = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")}
        manifest = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": identity, "status": status}
        try:
            result = await self._api.apply(manifest, "status", STATUS_MANAGER)
        except NotFound:
            return False
        self._notices.seen(_complete(result, body))
        return True


def _complete(result: Json, like: Manifest) -> Json:
    return {"apiVersion": like["apiVersion"], "kind": like["kind"], **result}


def _stalled(outcome: Outcome, message: str, body: Json, now: datetime) -> Json:
    """Return the outcome's status with the refusal in place of what its summary would have said."""
    before = [Condition.model_validate(item) for item in body.get("status", {}).get("conditions", ())]
    generation = outcome.status.observed_generation
    told = conclude_conditions(before, stalled(TrainingReason.INVALID, message), generation, now)
    kept = [item for item in outcome.status.conditions if item.type not in {condition.type for condition in told}]
    return outcome.status.model_copy(update={"conditions": [*told, *kept]}).document()
