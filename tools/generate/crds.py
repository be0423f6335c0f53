"""The three CustomResourceDefinitions: schemas from the types, rules from `contract/rules.py`, columns from here."""

from dataclasses import dataclass
from typing import Any

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard.contract.meta import GROUP, VERSION, Resource
from modelyard.contract.rules import RULES, Rule
from modelyard.contract.serving import ModelServing
from modelyard.contract.training import ModelTraining
from tools.generate.schema import structural_schema

__all__ = ["KINDS", "Column", "Kind", "definition"]


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column; `wide` ones show with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def document(self) -> dict[str, Any]:
        """Return the column as the CRD wants it."""
        priority = {"priority": 1} if self.wide else {}
        return {"name": self.name, "type": self.type, "jsonPath": self.path, **priority}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a CRD says beyond its schema."""

    model: type[Resource]
    plural: str
    short: str
    columns: tuple[Column, ...]
    scale: bool = False

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.model.__name__


_AGE = Column("AGE", ".metadata.creationTimestamp", type="date")
_READY_MESSAGE = Column("MESSAGE", '.status.conditions[?(@.type=="Ready")].message', wide=True)

KINDS = (
    Kind(
        ModelTraining,
        "modeltrainings",
        "mtr",
        (
            Column("PHASE", ".status.phase"),
            Column("PROGRESS", ".status.progress"),
            Column("ETA", ".status.eta"),
            Column("CHECKPOINT", ".status.lastPublished.name"),
            Column("GATE", ".status.gate"),
            Column("CHAMPION", ".status.champion.name", wide=True),
            _READY_MESSAGE,
            _AGE,
        ),
    ),
    Kind(
        ModelCheckpoint,
        "modelcheckpoints",
        "mckpt",
        (
            Column("TRAINING", ".spec.training"),
            Column("STEP", ".spec.step", type="integer"),
            Column("HEADLINE", ".status.headline"),
            Column("GATE", ".status.gate"),
            Column("SERVING", ".status.serving[*]"),
            Column("DIGEST", ".spec.digest", wide=True),
            Column("URI", ".spec.uri", wide=True),
            _AGE,
        ),
    ),
    Kind(
        ModelServing,
        "modelservings",
        "msv",
        (
            Column("READY", ".status.ready"),
            Column("VERSION", ".status.stable.checkpoint"),
            Column("CANDIDATE", ".status.candidate.checkpoint"),
            Column("WEIGHT", ".status.weight"),
            Column("STATUS", ".status.phase"),
            Column("URL", ".status.url", wide=True),
            _READY_MESSAGE,
            _AGE,
        ),
        scale=True,
    ),
)


def definition(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root_schema(kind)},
        "subresources": subresources,
        "additionalPrinterColumns": [column.document() for column in kind.columns],
    }
    names = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "shortNames": [kind.short],
        "categories": ["modelyard"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "modelyard"}},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _root_schema(kind: Kind) -> dict[str, Any]:
    root: dict[str, Any] = {
        "type": "object",
        "description": (kind.model.__doc__ or "").strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
            "kind": {"type": "string", "description": kind.name},
            "metadata": {"type": "object"},
            "spec": structural_schema(kind.model, "spec"),
            "status": structural_schema(kind.model, "status"),
        },
    }
    root["properties"]["status"].pop("default", None)
    for rule in RULES:
        if rule.kind == kind.name:
            _hang(rule, root)
    return root


def _hang(rule: Rule, root: dict[str, Any]) -> None:
    """Add a rule to the schema node that its path names."""
    node = root
    for segment in filter(None, rule.path.split(".")):
        node = node["properties"][segment.removesuffix("[]")]
        if segment.endswith("[]"):
            node = node["items"]
    entry = {"rule": rule.expression, "message": rule.message}
    node.setdefault("x-kubernetes-validations", []).append(entry)
