"""Watching: kopf's watch streams end here. A handler takes note and returns; it asks nobody and decides nothing."""

from collections.abc import Sequence
from typing import Any, cast

import kopf

from modelyard_operator.kube.client import KINDS
from modelyard_operator.noticing import Notices
from modelyard_operator.resyncing import SELECTOR, WATCHED
from modelyard_operator.settings import kopf_settings, log_in
from modelyard_operator.store import PARENTS

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
        kind = KINDS[name]
        group, _, version = kind.api_version.rpartition("/")
        kopf.on.event(group, version, kind.plural, registry=registry, id=f"note-{kind.plural}")(take_note)
    return registry


def _settings() -> kopf.OperatorSettings:
    """Children are filtered by the API server."""
    settings = kopf_settings()
    for name in WATCHED:
        if name not in PARENTS:
            kind = KINDS[name]
            group, _, version = kind.api_version.rpartition("/")
            settings.watching.label_selectors[group, version, kind.plural] = SELECTOR
    return settings
