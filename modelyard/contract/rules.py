"""Every CEL rule of the custom resources, once: its text, its message, where it hangs, and what it must let pass.

The CRDs carry these rules, so `kubectl apply` refuses a mistake with the message below. `accepted` and `refused` are
merge patches on a kind's smallest valid example (`EXAMPLES`); a test sends each to a real API server.
"""

from dataclasses import dataclass
from typing import Any

__all__ = ["EXAMPLES", "RULES", "Rule"]

Document = dict[str, Any]

_DIGEST = "sha256:" + "0" * 64

#: The smallest valid object of each kind.
EXAMPLES: dict[str, Document] = {
    "ModelTraining": {
        "metadata": {"name": "example"},
        "spec": {"module": "example.train", "output": {"uri": "pvc://models/example"}},
    },
    "ModelCheckpoint": {
        "metadata": {"name": "example-1"},
        "spec": {"uri": "pvc://models/example/1", "digest": _DIGEST},
    },
    "ModelServing": {
        "metadata": {"name": "example"},
        "spec": {"model": {"training": "example"}},
    },
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One validation rule."""

    kind: str
    path: str
    """Where it hangs: dotted field names from the root, `[]` for the items of a list; empty: the object itself."""
    expression: str
    message: str
    accepted: tuple[Document, ...]
    refused: tuple[Document, ...]


def _exactly_one(*fields: str) -> str:
    present = ", ".join(f"has(self.{field})" for field in fields)
    return f"[{present}].filter(given, given).size() == 1"


def _name_rule(kind: str, longest: int, why: str) -> Rule:
    return Rule(
        kind,
        "",
        f"self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= {longest}",
        f"metadata.name must start with a letter, hold only a-z, 0-9 and -, and be at most {longest} characters: {why}",
        accepted=({"metadata": {"name": "a" * longest}},),
        refused=({"metadata": {"name": "a" * (longest + 1)}}, {"metadata": {"name": "9lives"}}),
    )


def _uri_rules(kind: str, path: str, patch: Any) -> tuple[Rule, ...]:
    """Return the rules of one URI field; `patch(uri)` makes the patch that sets it."""
    return (
        Rule(
            kind,
            path,
            "!self.startsWith('pvc://') || self.matches('^pvc://[a-z0-9][-a-z0-9.]*/.+')",
            "a pvc URI names a claim and a path in it: pvc://CLAIM/PATH",
            accepted=(patch("pvc://models/a/b"),),
            refused=(patch("pvc://models"), patch("pvc://models/")),
        ),
        Rule(
            kind,
            path,
            "!self.startsWith('hdfs://') || self.matches('^hdfs://[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?/.+')",
            "an hdfs URI names a NameNode with its port, or a name service, and a path: hdfs://NAMENODE:PORT/PATH",
            accepted=(patch("hdfs://namenode.storage:8020/models/a"), patch("hdfs://nameservice1/models/a")),
            refused=(patch("hdfs://namenode:8020"), patch("hdfs://namenode:8020/"), patch("hdfs://namenode:port/a")),
        ),
        Rule(
            kind,
            path,
            "!self.matches('/[.][.]?(/|$)')",
            "a URI must not contain the segments . or ..",
            accepted=(patch("s3://bucket/a..b"),),
            refused=(patch("s3://bucket/../b"), patch("pvc://models/a/.."), patch("s3://bucket/./b")),
        ),
    )


def _writable(kind: str, path: str, patch: Any) -> Rule:
    return Rule(
        kind,
        path,
        "!self.startsWith('http')",
        "packages cannot be written to http addresses: use pvc://, hdfs://, s3:// or gs://",
        accepted=(patch("s3://bucket/models"), patch("gs://bucket/models")),
        refused=(patch("https://example.org/models"), patch("http://example.org/models")),
    )


def _training_rules() -> tuple[Rule, ...]:
    def output(uri: str) -> Document:
        return {"spec": {"output": {"uri": uri}}}

    def data(uri: str) -> Document:
        return {"spec": {"data": [{"name": "rows", "uri": uri}]}}

    def gate(**threshold: float) -> Document:
        return {"spec": {"gate": {"metrics": [{"name": "accuracy", **threshold}]}}}

    def publish(**fields: str) -> Document:
        return {"spec": {"publish": fields}}

    return (
        _name_rule("ModelTraining", 43, "the names of its runs and pods are made from it"),
        Rule(
            "ModelTraining",
            "spec",
            _exactly_one("script", "module", "command"),
            "exactly one of spec.script, spec.module and spec.command says what runs",
            accepted=(
                {"spec": {"module": None, "script": {"configMap": "example"}}},
                {"spec": {"module": None, "command": ["/train"]}},
            ),
            refused=({"spec": {"module": None}}, {"spec": {"command": ["/train"]}}),
        ),
        *_uri_rules("ModelTraining", "spec.output.uri", output),
        _writable("ModelTraining", "spec.output.uri", output),
        *_uri_rules("ModelTraining", "spec.data[].uri", data),
        Rule(
            "ModelTraining",
            "spec.gate.metrics[]",
            "has(self.floor) || has(self.ceiling)",
            "a gate metric needs a floor, a ceiling, or both",
            accepted=(gate(floor=0.9), gate(ceiling=0.1)),
            refused=(gate(),),
        ),
        Rule(
            "ModelTraining",
            "spec.gate.metrics[]",
            "!has(self.floor) || !has(self.ceiling) || self.floor <= self.ceiling",
            "the floor of a gate metric must not be above its ceiling",
            accepted=(gate(floor=0.1, ceiling=0.2),),
            refused=(gate(floor=0.3, ceiling=0.2),),
        ),
        Rule(
            "ModelTraining",
            "spec.publish",
            "!has(self.when) || self.when != 'Improved' || has(self.metric) && has(self.mode)",
            "publish.when Improved needs the metric that is watched and the mode: Min or Max, whichever is better",
            accepted=(publish(when="Improved", metric="val_loss", mode="Min"), publish(when="End")),
            refused=(publish(when="Improved", metric="val_loss"), publish(when="Improved", mode="Max")),
        ),
        *_toleration_rules("ModelTraining"),
        *_distribution_rules(),
    )


def _distribution_rules() -> tuple[Rule, ...]:
    def distribution(**fields: Any) -> Document:
        return {"spec": {"distribution": {"workers": 2, **fields}}}

    servers = distribution(strategy="ParameterServer", parameterServers=1)
    return (
        Rule(
            "ModelTraining",
            "spec.distribution",
            "has(self.parameterServers) == (self.strategy == 'ParameterServer')",
            "spec.distribution.parameterServers goes with strategy ParameterServer, which needs at least one",
            accepted=(distribution(), distribution(evaluator=True), servers),
            refused=(distribution(parameterServers=1), distribution(strategy="ParameterServer")),
        ),
    )


def _prepare_rules() -> tuple[Rule, ...]:
    def steps(*changes: Document, **spec: Any) -> Document:
        step = {"name": "rows", "module": "example.prepare", "output": {"uri": "pvc://models/rows"}}
        wanted = [{key: value for key, value in (step | change).items() if value} for change in changes]
        return {"spec": {"prepare": wanted, **spec}}

    def output(uri: str) -> Document:
        return steps({"output": {"uri": uri}})

    def input_(uri: str) -> Document:
        return steps({"inputs": [{"name": "raw", "uri": uri}]})

    def named(name: str) -> list[Document]:
        return [{"name": name, "uri": "s3://bucket/rows"}]

    return (
        Rule(
            "ModelTraining",
            "spec.prepare[]",
            _exactly_one("script", "module", "command"),
            "exactly one of script, module and command says what a prepare step runs",
            accepted=(steps({}), steps({"module": None, "command": ["/prepare"]})),
            refused=(steps({"module": None}), steps({"command": ["/prepare"]})),
        ),
        *_uri_rules("ModelTraining", "spec.prepare[].output.uri", output),
        Rule(
            "ModelTraining",
            "spec.prepare[].output.uri",
            "size(self) <= 960",
            "the output of a prepare step must be at most 960 characters: its folder's name is added",
            accepted=(output("s3://bucket/" + "a" * 900),),
            refused=(output("s3://bucket/" + "a" * 990),),
        ),
        _writable("ModelTraining", "spec.prepare[].output.uri", output),
        *_uri_rules("ModelTraining", "spec.prepare[].inputs[].uri", input_),
        Rule(
            "ModelTraining",
            "spec",
            "!has(self.prepare) || !has(self.data) || !self.prepare.exists(s, self.data.exists(d, d.name == s.name))",
            "a prepare step and a source of spec.data must not have the same name: both are read by it",
            accepted=(steps({}, data=named("raw")),),
            refused=(steps({}, data=named("rows")),),
        ),
        Rule(
            "ModelTraining",
            "spec",
            "!has(self.prepare) || self.prepare.all(s, !has(s.inputs) || "
            "!s.inputs.exists(i, self.prepare.exists(p, p.name == i.name)))",
            "an input of a prepare step must not have the name of a step: what steps make is read by their names",
            accepted=(steps({"inputs": named("raw")}),),
            refused=(steps({"inputs": named("rows")}), steps({"inputs": named("more")}, {"name": "more"})),
        ),
    )


def _toleration_rules(kind: str) -> tuple[Rule, ...]:
    def tolerations(**toleration: str) -> Document:
        return {"spec": {"tolerations": [toleration]}}

    return (
        Rule(
            kind,
            "spec.tolerations[]",
            "self.operator != 'Exists' || !has(self.value)",
            "a toleration with operator Exists takes no value",
            accepted=(tolerations(key="gpu", operator="Exists"), tolerations(key="gpu", value="yes")),
            refused=(tolerations(key="gpu", operator="Exists", value="yes"),),
        ),
    )


def _checkpoint_rules() -> tuple[Rule, ...]:
    def uri(value: str) -> Document:
        return {"spec": {"uri": value}}

    return (
        Rule(
            "ModelCheckpoint",
            "spec",
            "self == oldSelf",
            "the spec of a ModelCheckpoint never changes: make another one",
            accepted=({"metadata": {"labels": {"team": "a"}}},),
            refused=(uri("pvc://models/other/2"),),
        ),
        *_uri_rules("ModelCheckpoint", "spec.uri", uri),
    )


def _serving_rules() -> tuple[Rule, ...]:
    def source(**fields: str | None) -> Document:
        return {"spec": {"model": {"training": None, **fields}}}

    def uri(value: str) -> Document:
        return source(uri=value, digest=_DIGEST)

    return (
        _name_rule("ModelServing", 54, "the names of its Service and Deployments are made from it"),
        Rule(
            "ModelServing",
            "spec.model",
            _exactly_one("training", "checkpoint", "uri"),
            "exactly one of spec.model.training, spec.model.checkpoint and spec.model.uri says what is served",
            accepted=(source(checkpoint="example-1"), uri("pvc://models/example/1")),
            refused=(source(), source(training="example", checkpoint="example-1")),
        ),
        Rule(
            "ModelServing",
            "spec.model",
            "has(self.uri) == has(self.digest)",
            "spec.model.uri and spec.model.digest go together: the digest says which package must lie there",
            accepted=(uri("s3://models/example/1"),),
            refused=(source(uri="s3://models/example/1"), source(training="example", digest=_DIGEST)),
        ),
        *_uri_rules("ModelServing", "spec.model.uri", uri),
        Rule(
            "ModelServing",
            "spec.verification",
            _exactly_one("configMap", "secretName"),
            "exactly one of spec.verification.configMap and spec.verification.secretName holds the public keys",
            accepted=(
                {"spec": {"verification": {"configMap": "keys"}}},
                {"spec": {"verification": {"secretName": "keys"}}},
            ),
            refused=(
                {"spec": {"verification": {}}},
                {"spec": {"verification": {"configMap": "keys", "secretName": "keys"}}},
            ),
        ),
        *_toleration_rules("ModelServing"),
    )


RULES: tuple[Rule, ...] = (*_training_rules(), *_prepare_rules(), *_checkpoint_rules(), *_serving_rules())
