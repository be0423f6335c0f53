"""Watching: kopf's watch streams end here. A handler takes note and returns; it asks nobody and decides nothing."""

from collections.abc import Sequence
from typing import Any, cast

import kopf

from modelyard_operator.kube.client import KINDS
from modelyard_operator.noticing import Notices
from modelyard_operator.resyncing import WATCHED
from modelyard_operator.settings import kopf_settings, log_in

__all__ = ["watch"]


async def watch(notices: Notices, namespaces: Sequence[str], identity: str) -> None:
    """Watch until cancelled; return or raise when kopf gives up."""
    await kopf.operator(
        registry=_registry(notices),
        settings=_settings(),
        # kopf does not export the type of an identity, and without one it looks the user up
        identity=cast(Any, identity),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=tuple(namespaces),
    )


def _registry(notices: Notices) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(log_in)

    async def take_note(event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] == "DELETED":
            notices.gone(event["object"])
        else:
            notices.seen(event["object"])

    for name in WATCHED:
        kopf.on.event(*_place(name), registry=registry, id=f"note-{name}")(take_note)
    return registry


def _settings() -> kopf.OperatorSettings:
    """Children are filtered by the API server."""
    settings = kopf_settings()
    for name, selector in WATCHED.items():
        if selector:
            settings.watching.label_selectors[_place(name)] = selector
    return settings


def _place(name: str) -> tuple[str, str, str]:
    kind = KINDS[name]
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural
