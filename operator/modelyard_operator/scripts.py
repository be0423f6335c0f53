"""Scripts of trainings: read from the user's ConfigMap when a pass needs one.

Watching every ConfigMap of a cluster would cost more than it gives, so a script is read again when it is older than
`_FRESH` seconds or when its training's spec has changed, and a training with a script is looked at once a minute.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from modelyard.contract.training import ModelTraining, Script
from modelyard_operator.kube.client import KINDS, Json, KubeApi, NotFound
from modelyard_operator.outcome import ScriptContent

__all__ = ["LOOK_AGAIN", "LOOK_AGAIN_MISSING", "Scripts", "TrainingScripts"]

#: Seconds until a script is looked at again, and one that is missing.
LOOK_AGAIN = 60.0
LOOK_AGAIN_MISSING = 5.0
_FRESH = timedelta(seconds=15)
#: When, for which generation of the training, and what was read.
_Known = tuple[datetime, int, ScriptContent]


@dataclass(frozen=True, slots=True)
class TrainingScripts:
    """The scripts of a training as they were read."""

    own: ScriptContent | None = None
    """What trains; None if that is no script."""
    steps: Mapping[str, ScriptContent] = field(default_factory=dict)
    """What its prepare steps run, by their names; only those with a script."""

    @property
    def look_again(self) -> float | None:
        """Seconds until the scripts are looked at again; None if there are none."""
        contents = [*([self.own] if self.own else []), *self.steps.values()]
        if not contents:
            return None
        return LOOK_AGAIN_MISSING if any(content.text is None for content in contents) else LOOK_AGAIN


class Scripts:
    """Reads scripts, and remembers each for some seconds."""

    def __init__(self, api: KubeApi, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now
        self._known: dict[str, dict[str, _Known]] = {}

    async def read(self, training: ModelTraining) -> TrainingScripts:
        """Return a training's scripts; raise KubeError."""
        spec = training.spec
        places = {"spec": spec.script} | {f"spec.prepare[{n}]": step.script for n, step in enumerate(spec.prepare)}
        known = self._known.pop(training.key, {})
        read = {
            place: await self._read(training, place, script, known.get(place))
            for place, script in places.items()
            if script is not None
        }
        if read:
            self._known[training.key] = read
        own = read["spec"][2] if "spec" in read else None
        steps = {
            step.name: read[f"spec.prepare[{n}]"][2] for n, step in enumerate(spec.prepare) if step.script is not None
        }
        return TrainingScripts(own, steps)

    def forget(self, key: str) -> None:
        """Forget the scripts of a training that is gone; `key` is its namespace/name."""
        self._known.pop(key, None)

    async def _read(self, training: ModelTraining, place: str, script: Script, known: _Known | None) -> _Known:
        now, generation = self._now(), training.metadata.generation
        if known is not None:
            when, known_generation, content = known
            if content.text is not None and generation == known_generation and now - when < _FRESH:
                return known
        return now, generation, await self._fetch(training.metadata.namespace, place, script)

    async def _fetch(self, namespace: str, place: str, script: Script) -> ScriptContent:
        name, file = script.config_map, script.file
        try:
            config: Json = await self._api.get(KINDS["ConfigMap"], namespace, name)
        except NotFound:
            return ScriptContent(None, f"{place}.script.configMap: there is no ConfigMap {name} in this namespace")
        text = config.get("data", {}).get(file)
        if text is None:
            return ScriptContent(None, f"{place}.script.file: the ConfigMap {name} has no key {file}")
        return ScriptContent(text)
