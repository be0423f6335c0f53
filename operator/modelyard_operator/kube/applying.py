"""Writing children: the whole intent by server-side apply, and nothing when nothing would change."""

import copy
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from modelyard.contract.wire import Annotation
from modelyard_operator.kube.client import KINDS, Invalid, Json, KubeApi, NotFound
from modelyard_operator.pods import fingerprint

__all__ = ["Applier", "Taken", "contains"]

#: Children that are remembered as taken; a forgotten one is compared, and applied once more at worst.
_REMEMBERED = 20_000
_SUFFIXES = {"m": Decimal("0.001"), "k": Decimal(1000), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12)}
_SUFFIXES |= {f"{letter}i": Decimal(1024 ** (place + 1)) for place, letter in enumerate("KMGTP")}


#: Children named after their parent: somebody else may have one of that name. The names of the others hold a hash.
_PLAIN_NAMES = frozenset({"Service", "PodDisruptionBudget", "NetworkPolicy"})


class Taken(Invalid):
    """An object of that name is there and belongs to somebody else."""


class Applier:
    """Applies children. An object that carries the intent's hash and still holds the intent is left alone."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._taken: dict[tuple[str, str, str], tuple[str, str]] = {}

    async def apply(self, manifest: Mapping[str, Any], live: Mapping[str, Any] | None) -> Json | None:
        """Apply one child if it would change something; return what the API server made of it; raise KubeError."""
        intent = copy.deepcopy(dict(manifest))
        digest = fingerprint(intent, 16)
        metadata = intent["metadata"]
        metadata["annotations"] = {**metadata.get("annotations", {}), Annotation.APPLIED: digest}
        key = (intent["kind"], metadata["namespace"], metadata["name"])
        if live is not None:
            carried = live["metadata"].get("annotations", {}).get(Annotation.APPLIED) == digest
            # what the server keeps in another form is not applied for ever
            taken = self._taken.get(key) == (digest, live["metadata"].get("resourceVersion", ""))
            if taken or (carried and contains(live, intent)):
                return None
        elif intent["kind"] in _PLAIN_NAMES:
            await self._refuse_a_strangers(intent)
        result = await self._api.apply(intent)
        if len(self._taken) >= _REMEMBERED:
            self._taken.pop(next(iter(self._taken)))
        self._taken[key] = (digest, result["metadata"].get("resourceVersion", ""))
        return result

    async def _refuse_a_strangers(self, intent: Json) -> None:
        """Raise Taken if an object with the intent's name has not the same owner: applying would take it over."""
        kind, metadata = intent["kind"], intent["metadata"]
        try:
            found = await self._api.get(KINDS[kind], metadata["namespace"], metadata["name"])
        except NotFound:
            return
        if _owners(found) != _owners(intent):
            raise Taken(
                f"metadata.name: a {kind} {metadata['name']} is here already and is not this resource's: "
                "delete or rename it, or choose another name"
            )


def _owners(body: Mapping[str, Any]) -> set[str]:
    return {reference["uid"] for reference in body["metadata"].get("ownerReferences", ())}


def contains(live: Any, wanted: Any) -> bool:
    """Return whether every wanted field is in the live object; quantities are compared by value."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            contains(live.get(key), value) or (value in ({}, [], None, "") and not live.get(key))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        same_length = isinstance(live, list | tuple) and len(live) == len(wanted)
        return same_length and all(map(contains, live, wanted))
    if live == wanted:
        return True
    left, right = _quantity(live), _quantity(wanted)
    return left is not None and left == right


def _quantity(value: Any) -> Decimal | None:
    text = str(value)
    for suffix, factor in _SUFFIXES.items():
        if text.endswith(suffix):
            text, scale = text.removesuffix(suffix), factor
            break
    else:
        scale = Decimal(1)
    try:
        return Decimal(text) * scale
    except InvalidOperation:
        return None
