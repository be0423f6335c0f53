"""Scripts of trainings: read from the user's ConfigMap when a pass needs one.

Watching every ConfigMap of a cluster would cost more than it gives, so a script is read again when it is older than
`_FRESH` seconds or when its training's spec has changed, and a training with a script is looked at once a minute.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from modelyard.contract.training import ModelTraining
from modelyard_operator.kube.client import KINDS, Json, KubeApi, NotFound
from modelyard_operator.outcome import ScriptContent

__all__ = ["LOOK_AGAIN", "LOOK_AGAIN_MISSING", "Scripts"]

#: Seconds until a script is looked at again, and one that is missing.
LOOK_AGAIN = 60.0
LOOK_AGAIN_MISSING = 5.0
_FRESH = timedelta(seconds=15)


class Scripts:
    """Reads scripts, and remembers each for some seconds."""

    def __init__(self, api: KubeApi, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now
        self._known: dict[str, tuple[datetime, int, ScriptContent]] = {}

    async def read(self, training: ModelTraining) -> ScriptContent | None:
        """Return a training's script; None if it has none to read; raise KubeError."""
        script, key = training.spec.script, training.key
        if script is None:
            self.forget(key)
            return None
        now, generation = self._now(), training.metadata.generation
        when, known_generation, known = self._known.get(key, (now, -1, None))
        if known is not None and known.text is not None and generation == known_generation and now - when < _FRESH:
            return known
        content = await self._fetch(training.metadata.namespace, script.config_map, script.file)
        self._known[key] = (now, generation, content)
        return content

    def forget(self, key: str) -> None:
        """Forget the script of a training that is gone; `key` is its namespace/name."""
        self._known.pop(key, None)

    async def _fetch(self, namespace: str, name: str, file: str) -> ScriptContent:
        try:
            config: Json = await self._api.get(KINDS["ConfigMap"], namespace, name)
        except NotFound:
            return ScriptContent(None, f"spec.script.configMap: there is no ConfigMap {name} in this namespace")
        text = config.get("data", {}).get(file)
        if text is None:
            return ScriptContent(None, f"spec.script.file: the ConfigMap {name} has no key {file}")
        return ScriptContent(text)
