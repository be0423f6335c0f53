"""Golden files: recorded results under tests/golden; `pytest --update-golden` records them anew.

The difference of a golden file is the review of a change of behaviour.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True)
class Golden:
    """Compares with recorded results."""

    update: bool

    def text(self, path: str, text: str) -> None:
        """Compare a text with the recorded one."""
        file, text = ROOT / path, text.rstrip() + "\n"
        if self.update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        assert file.exists(), f"tests/golden/{path} is missing: run pytest --update-golden and review it"
        assert text == file.read_text(), f"differs from tests/golden/{path}; if that is meant: pytest --update-golden"

    def objects(self, path: str, *manifests: Any) -> None:
        """Compare whole objects with the recorded ones."""
        plain = [_plain(item) for item in manifests]
        self.text(path, yaml.dump_all(plain, Dumper=_Dumper, sort_keys=False, width=120))


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)


def _plain(value: Any) -> Any:
    """Return only what YAML knows: enumerations and other strings become plain strings."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
