"""Writing children: the whole intent by server-side apply, and nothing when nothing would change."""

import copy
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from modelyard.contract.wire import Annotation
from modelyard_operator.kube.client import Json, KubeApi
from modelyard_operator.pods import fingerprint

__all__ = ["Applier", "contains"]

#: Children that are remembered as taken; a forgotten one is compared, and applied once more at worst.
_REMEMBERED = 20_000
_SUFFIXES = {"m": Decimal("0.001"), "k": Decimal(1000), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12)}
_SUFFIXES |= {f"{letter}i": Decimal(1024 ** (place + 1)) for place, letter in enumerate("KMGTP")}


class Applier:
    """Applies children. An object that carries the intent's hash and still holds the intent is left alone."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._taken: dict[tuple[str, str, str], tuple[str, str]] = {}

    async def apply(self, manifest: Mapping[str, Any], live: Mapping[str, Any] | None) -> Json | None:
        """Apply one child if it would change something; return what the API server made of it."""
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
        result = await self._api.apply(intent)
        if len(self._taken) >= _REMEMBERED:
            self._taken.pop(next(iter(self._taken)))
        self._taken[key] = (digest, result["metadata"].get("resourceVersion", ""))
        return result


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
