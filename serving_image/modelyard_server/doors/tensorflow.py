"""TensorFlow Serving's REST API, version 1: predict by rows and columns, classify, regress, status, metadata."""

from collections.abc import Mapping
from typing import Any

from modelyard.contract.package import OutputKind
from modelyard_server.asking import Ask, Reply, RequestError
from modelyard_server.core import Core
from modelyard_server.doors.documents import decode_base64, parse_json, reply, timed

__all__ = ["TensorFlowDoor"]

_OBJECTS = frozenset((dict,))
_SIGNATURES = (None, "", "serving_default")


class TensorFlowDoor:
    """Answers under `/v1/models/NAME`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._names = core.model.encoder.names

    async def predict(self, ask: Ask) -> Reply:
        """Answer `instances` with `predictions`, `inputs` with `outputs`."""
        document = _document(ask)
        answerer = self._core.model.answerer
        if ("instances" in document) == ("inputs" in document):
            raise RequestError("give either `instances` (rows) or `inputs` (columns)")
        if "instances" in document:
            answer = await self._core.answer_rows(self._rows(document["instances"], ask.body), ask)
            return timed({"predictions": answerer.json_rows(answer.outputs)}, answer)
        answer = await self._core.answer_columns(self._columns(document["inputs"]), ask)
        outputs = answerer.json_columns(answer.outputs)
        return timed({"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}, answer)

    async def classify(self, ask: Ask) -> Reply:
        """Answer `examples` with a list of (label, score) pairs for each."""
        output = self._output(OutputKind.TAGS, OutputKind.PROBABILITY)
        if output is None:
            raise RequestError("the model has no output of labels or a probability: use :predict or :regress")
        answer = await self._core.answer_rows(self._examples(_document(ask)), ask)
        scores = answer.outputs[output.name].reshape(answer.rows, -1)
        labels = [label.name for label in output.labels] or [output.name]
        result = [list(zip(labels, row, strict=True)) for row in scores]
        if output.top is not None:
            result = [sorted(pairs, key=lambda pair: -pair[1])[: output.top] for pairs in result]
        return timed({"result": result}, answer)

    async def regress(self, ask: Ask) -> Reply:
        """Answer `examples` with a number for each."""
        output = self._output(OutputKind.REGRESSION, OutputKind.PROBABILITY)
        if output is None:
            raise RequestError("the model has no output of one number: use :predict or :classify")
        answer = await self._core.answer_rows(self._examples(_document(ask)), ask)
        return timed({"results": answer.outputs[output.name]}, answer)

    async def status(self, _: Ask) -> Reply:
        """Say that this version is available, in the words of TensorFlow Serving and of KServe's version 1."""
        state = {"error_code": "OK", "error_message": ""}
        versions = [{"version": self._core.version, "state": "AVAILABLE", "status": state}]
        return reply({"name": self._core.name, "ready": True, "model_version_status": versions})

    async def metadata(self, _: Ask) -> Reply:
        """Describe the features, outputs and quality of the model."""
        model = self._core.model
        metadata = {
            "features": [feature.document() for feature in model.features.features],
            "outputs": [output.document() for output in model.labels.outputs],
            "metrics": model.manifest.metrics,
            "digest": model.digest,
        }
        specification = {"name": self._core.name, "signature_name": "", "version": self._core.version}
        return reply({"model_spec": specification, "metadata": metadata})

    def _rows(self, rows: Any, body: bytes) -> list[Mapping[str, Any]]:
        if not isinstance(rows, list):
            raise RequestError("`instances` must be a list")
        if len(self._names) == 1:
            [name] = self._names
            rows = [row if type(row) is dict and not _is_binary(row) else {name: row} for row in rows]
        found: list[Mapping[str, Any]] = rows
        if not _OBJECTS.issuperset(map(type, rows)):
            raise RequestError("each of `instances` must be an object of feature name to value")
        # one brace for the document and one for each row: no value is an object
        if len(self._names) == 1 or body.count(b"{") != len(rows) + 1:
            for row in rows:
                _decode(row)
        return found

    def _columns(self, columns: Any) -> dict[str, list[Any]]:
        if isinstance(columns, list) and len(self._names) == 1:
            columns = {self._names[0]: columns}
        if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
            raise RequestError("`inputs` must be an object of feature name to a list of values")
        return {name: [_plain(name, value) for value in values] for name, values in columns.items()}

    def _examples(self, document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return rows of `examples`, each with the `context` that they share; a list of one value is that value."""
        examples, context = document.get("examples"), document.get("context", {})
        if not isinstance(examples, list) or not isinstance(context, dict):
            raise RequestError("`examples` must be a list of objects, `context` an object")
        if not all(isinstance(example, dict) for example in examples):
            raise RequestError("each of `examples` must be an object of feature name to value")
        lists = self._core.model.encoder.takes_lists
        rows = [context | example for example in examples]
        for row in rows:
            for name, value in row.items():
                if isinstance(value, list) and len(value) == 1 and name not in lists:
                    row[name] = value[0]
            _decode(row)
        return rows

    def _output(self, *kinds: OutputKind) -> Any:
        outputs = self._core.model.labels.outputs
        return next((output for kind in kinds for output in outputs if output.kind is kind), None)


def _document(ask: Ask) -> dict[str, Any]:
    document = parse_json(ask.body)
    if document.get("signature_name") not in _SIGNATURES:
        raise RequestError(f"`signature_name` is {document['signature_name']!r}: there is only serving_default")
    return document


def _is_binary(value: Any) -> bool:
    return type(value) is dict and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _decode(row: dict[str, Any]) -> None:
    """Replace `{"b64": …}` by the bytes."""
    for name, value in row.items():
        if type(value) is dict:
            row[name] = _plain(name, value)


def _plain(name: str, value: Any) -> Any:
    if type(value) is not dict:
        return value
    if not _is_binary(value):
        raise RequestError(f'{name}: an object is no value, unless it is {{"b64": "…"}}')
    try:
        return decode_base64(value["b64"])
    except ValueError as error:
        raise RequestError(f"{name}: {error}") from error
