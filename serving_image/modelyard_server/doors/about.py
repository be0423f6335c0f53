"""The model for people and their tools: its OpenAPI document, its page, and what it is asked now."""

from typing import Any

from modelyard import __version__
from modelyard.contract.package import (
    BooleanFeature,
    BucketFeature,
    CategoryFeature,
    CrossFeature,
    DateFeature,
    Feature,
    HashFeature,
    ImageFeature,
    IntegerFeature,
    ListFeature,
    NumberFeature,
    Output,
    OutputKind,
    TensorFeature,
)
from modelyard.contract.wire import Header
from modelyard_server.asking import Ask, Reply
from modelyard_server.core import Core
from modelyard_server.doors.documents import reply
from modelyard_server.doors.page import make_page

__all__ = ["AboutDoor", "openapi"]

Json = dict[str, Any]
#: Feature type to JSON schema, where the type says it all.
_TYPES: dict[type, Json] = {
    BooleanFeature: {"type": "boolean"},
    BucketFeature: {"type": "number"},
    DateFeature: {"type": "string", "format": "date"},
    HashFeature: {"type": ["string", "integer"]},
    ImageFeature: {"type": ["object", "array"]},
    TensorFeature: {"type": "array"},
}


class AboutDoor:
    """Answers `/` and `/openapi.json`, both made once, and `/distributions.json`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._document = openapi(core)
        self._page, self._policy = make_page(core)

    async def document(self, _: Ask) -> Reply:
        """Return the OpenAPI document."""
        return reply(self._document)

    async def distributions(self, _: Ask) -> Reply:
        """Return what was counted of features and predictions, over the baseline's bins."""
        return reply(self._core.distributions())

    async def page(self, ask: Ask) -> Reply:
        """Return the page, or a word for programs that take anything but do not ask for HTML."""
        if "*/*" in (accepted := ask.headers.get("Accept", "")) and "text/html" not in accepted:
            return reply({"status": "alive", "model": self._core.name, "version": self._core.version})
        headers = {"Content-Security-Policy": self._policy, "X-Content-Type-Options": "nosniff"}
        return Reply(self._page, 200, "text/html; charset=utf-8", headers)


def openapi(core: Core) -> Json:
    """Return the OpenAPI 3.1 document of a model's doors, made of its own features and outputs."""
    model = core.model
    features = [feature for feature in model.features.features if not isinstance(feature, CrossFeature)]
    row: Json = {
        "type": "object",
        "properties": {feature.name: _described(feature) for feature in features},
        "required": [feature.name for feature in features if getattr(feature, "default", None) is None],
        "additionalProperties": False,
    }
    if not row["required"]:
        del row["required"]
    prediction = _prediction(model.labels.outputs)
    schemas = {
        "Instance": row,
        "Prediction": prediction,
        "Error": _object({"error": {"type": "string"}}),
        "Tensor": _object(
            {
                "name": {"type": "string"},
                "datatype": {"type": "string"},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                "data": {"type": "array"},
            },
        ),
    }
    parameters = [
        {
            "name": feature.name,
            "in": "query",
            "required": getattr(feature, "default", None) is None,
            "description": feature.description,
            "schema": _described(feature, in_query=True),
        }
        for feature in features
    ]
    rows = _object({"instances": {"type": "array", "items": _ref("Instance"), "minItems": 1}})
    answers = _object({"predictions": {"type": "array", "items": _ref("Prediction")}})
    tensors = _object({"inputs": {"type": "array", "items": _ref("Tensor"), "minItems": 1}})
    told = {"type": "object", "required": ["outputs"], "properties": {"outputs": {"type": "array"}}}
    v1, v2 = f"/v1/models/{core.name}", f"/v2/models/{core.name}"
    anything = {"type": "object"}
    return {
        "openapi": "3.1.0",
        "info": {"title": core.name, "version": core.version, "description": f"Served by Modelyard {__version__}."},
        "paths": {
            f"{v1}:predict": {
                "get": _operation("predictOne", "Predict for one instance", answers, parameters=parameters),
                "post": _operation("predict", "Predict for several instances, by rows", answers, body=rows),
            },
            v1: {"get": _operation("status", "State of the model", anything)},
            f"{v1}/metadata": {"get": _operation("metadata", "Features, outputs and quality", anything)},
            f"{v2}/infer": {"post": _operation("infer", "Open Inference Protocol, version 2", told, body=tensors)},
            v2: {"get": _operation("modelMetadata", "Tensors of the model", anything)},
            "/v2": {"get": _operation("serverMetadata", "What this server is", anything)},
            "/distributions.json": {
                "get": _operation(
                    "distributions", "What this pod was asked and answered, beside the baseline", anything
                )
            },
        },
        "components": {"schemas": schemas},
    }


def _operation(
    name: str, summary: str, answer: Json, *, body: Json | None = None, parameters: list[Json] | None = None
) -> Json:
    deadline = {
        "name": Header.DEADLINE,
        "in": "header",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 600_000},
        "description": "Milliseconds within which an answer is of use.",
    }
    failed = {"description": "Refused, with the reason", "content": _content(_ref("Error"))}
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "Answered", "content": _content(answer)}},
    }
    if parameters is not None or body is not None:
        operation["parameters"] = [*(parameters or []), deadline]
        operation["responses"] |= dict.fromkeys(("400", "413", "429", "503"), failed)
    if parameters is not None:
        operation["responses"]["304"] = {"description": "The copy that the client has is still right"}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _content(body)}
    return operation


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _described(feature: Feature, *, in_query: bool = False) -> Json:
    """Return the JSON schema of a feature's value."""
    schema = _type(feature, in_query=in_query)
    default = getattr(feature, "default", None)
    told = {"description": feature.description} if feature.description else {}
    return schema | told | ({} if default is None else {"default": default})


def _type(feature: Feature, *, in_query: bool) -> Json:
    """Return the JSON schema of a value, which in a query is text where it is none of JSON's simple types."""
    if isinstance(feature, HashFeature) and in_query:
        return {"type": "string"}
    if isinstance(feature, ImageFeature) and in_query:
        return {"type": "string", "format": "byte"}
    if isinstance(feature, NumberFeature | IntegerFeature):
        bounds = {"minimum": feature.minimum, "maximum": feature.maximum}
        kind = "integer" if isinstance(feature, IntegerFeature) else "number"
        return {"type": kind, **{name: bound for name, bound in bounds.items() if bound is not None}}
    if isinstance(feature, CategoryFeature):
        return {"type": "string", "examples": feature.vocabulary[:5]}
    if isinstance(feature, ListFeature):
        return {"type": "array", "items": {"type": "string"}, "maxItems": feature.length}
    return _TYPES[type(feature)]


def _prediction(outputs: list[Output]) -> Json:
    kinds: dict[OutputKind, Json] = {
        OutputKind.TAGS: {"type": "object", "additionalProperties": {"type": "number"}},
        OutputKind.PROBABILITY: {"type": "number", "minimum": 0, "maximum": 1},
        OutputKind.REGRESSION: {"type": "number"},
        OutputKind.RAW: {"type": "array"},
    }
    if len(outputs) == 1:
        return kinds[outputs[0].kind]
    return _object({output.name: kinds[output.kind] for output in outputs})
