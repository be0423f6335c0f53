"""The Open Inference Protocol over HTTP, version 2, with the binary tensor extension."""

from collections.abc import Mapping
from typing import Any

from modelyard import __version__
from modelyard.contract.package import OutputKind
from modelyard_server.asking import Answer, Ask, Reply, RequestError
from modelyard_server.core import Core
from modelyard_server.doors.documents import decode_base64, dump, parse_json, reply, timed
from modelyard_server.doors.plain import Raw, plain_columns, plain_row
from modelyard_server.doors.tensors import (
    check_output,
    check_shape,
    describe_inputs,
    describe_outputs,
    from_bytes,
    from_list,
    keep_column,
    to_bytes,
)

__all__ = ["InferenceDoor"]

EXTENSION = "binary_tensor_data"
_LENGTH = "Inference-Header-Content-Length"


class InferenceDoor:
    """Answers under `/v2`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._bytes = core.model.encoder.takes_bytes
        self._identity = {"model_name": core.name, "model_version": core.version}
        self._outputs = []
        for output in core.model.labels.outputs:
            described: dict[str, Any] = {"name": output.name, "datatype": "FP32"}
            if output.kind is OutputKind.TAGS:
                described["parameters"] = {"labels": ",".join(label.name for label in output.labels)}
            self._outputs.append(described)

    async def infer(self, ask: Ask) -> Reply:
        """Answer tensors with tensors."""
        length = ask.headers.get(_LENGTH)
        document, raw = (parse_json(ask.body), None) if length is None else _split(ask.body, length)
        tensors = document.get("inputs")
        if type(tensors) is not list:
            raise RequestError("`inputs` must be a list of tensors")
        answer = await (self._answer_listed(tensors, ask) if raw is None else self._answer_raw(tensors, raw, ask))
        identity = {"id": document["id"], **self._identity} if "id" in document else self._identity
        if raw is None and "outputs" not in document and "parameters" not in document:
            return timed({**identity, "outputs": [self._listed(o, answer) for o in self._outputs]}, answer)
        return self._chosen(document, identity, answer)

    async def server(self, _: Ask) -> Reply:
        """Say what this server is."""
        return reply({"name": "modelyard", "version": __version__, "extensions": [EXTENSION]})

    async def metadata(self, _: Ask) -> Reply:
        """Describe the model's tensors."""
        model = self._core.model
        return reply(
            {
                "name": self._core.name,
                "versions": [self._core.version],
                "platform": model.platform,
                "inputs": describe_inputs(model),
                "outputs": describe_outputs(model),
            }
        )

    async def models(self, _: Ask) -> Reply:
        """List the one model that there is."""
        return reply({"models": [self._core.name]})

    async def live(self, _: Ask) -> Reply:
        """Say that it is live, with a body for the clients that read one."""
        return reply({"live": True})

    async def ready(self, _: Ask) -> Reply:
        """Say that it is ready: whoever can be asked is."""
        return reply({"ready": True})

    async def _answer_listed(self, tensors: list[Any], ask: Ask) -> Answer:
        row = plain_row(tensors)
        if row is not None:
            if self._bytes:
                row = {name: self._decode(name, value) for name, value in row.items()}
            return await self._core.answer_row(row, ask)
        columns = None if self._bytes else plain_columns(tensors)
        if columns is not None:
            return await self._core.answer_columns(columns, ask)
        return await self._answer(tensors, Raw(b""), ask)

    async def _answer_raw(self, tensors: list[Any], raw: Raw, ask: Ask) -> Answer:
        row = None if self._bytes else raw.plain_row(tensors)
        if row is not None:
            return await self._core.answer_row(row, ask)
        return await self._answer(tensors, raw, ask)

    async def _answer(self, tensors: list[Any], raw: Raw, ask: Ask) -> Answer:
        columns: dict[str, Any] = {}
        for tensor in tensors:
            if type(tensor) is not dict:
                raise RequestError("each of `inputs` must be an object")
            name, shape = check_shape(tensor.get("name"), tensor.get("shape"))
            size = _parameters(tensor, name).get("binary_data_size")
            if size is None:
                listed = from_list(name, shape, tensor.get("data"))
                values: Any = [self._decode(name, value) for value in listed] if name in self._bytes else listed
                keep_column(columns, name, values, as_text=False)
            else:
                datatype = tensor.get("datatype")
                values = from_bytes(name, datatype, shape, raw.take(name, size))
                keep_column(columns, name, values, as_text=datatype == "BYTES" and name not in self._bytes)
        if raw.rest:
            raise RequestError(f"{raw.rest} bytes follow the last binary tensor")
        return await self._core.answer_columns(columns, ask)

    def _decode(self, name: str, value: Any) -> Any:
        """JSON has no bytes: for features that take them, text is base64."""
        if name not in self._bytes or not isinstance(value, str):
            return value
        try:
            return decode_base64(value)
        except ValueError as error:
            raise RequestError(f"{name}: {error}") from error

    def _listed(self, described: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
        values = answer.outputs[described["name"]]
        return {**described, "shape": values.shape, "data": values.ravel()}

    def _chosen(self, document: Mapping[str, Any], identity: Mapping[str, Any], answer: Answer) -> Reply:
        """Return the outputs that were asked for, as JSON or as raw bytes after it."""
        by_default = _parameters(document, "the request").get("binary_data_output") is True
        wanted = self._wanted(document.get("outputs"), by_default=by_default)
        outputs, binary = [], []
        for described, as_bytes in wanted:
            if not as_bytes:
                outputs.append(self._listed(described, answer))
                continue
            values = answer.outputs[described["name"]]
            data = to_bytes(values)
            binary.append(data)
            told = {**described.get("parameters", {}), "binary_data_size": len(data)}
            outputs.append({**described, "shape": values.shape, "parameters": told})
        if not binary:
            return timed({**identity, "outputs": outputs}, answer)
        head = dump({**identity, "outputs": outputs})
        body = b"".join([head, *binary])
        return Reply(body, 200, "application/octet-stream", {_LENGTH: str(len(head))}, answer)

    def _wanted(self, asked: Any, *, by_default: bool) -> list[tuple[dict[str, Any], bool]]:
        known = {described["name"]: described for described in self._outputs}
        if asked is None or asked == []:
            return [(described, by_default) for described in self._outputs]
        if not isinstance(asked, list) or not all(isinstance(output, dict) for output in asked):
            raise RequestError("`outputs` must be a list of objects")
        wanted = []
        for output in asked:
            name = check_output(output.get("name"), known)
            told = _parameters(output, name).get("binary_data", by_default)
            wanted.append((known[name], told is True))
        return wanted


def _parameters(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the `parameters` of a tensor or of the request; raise RequestError."""
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError(f"{name}: `parameters` must be an object")
    return parameters


def _split(body: bytes, length: str) -> tuple[dict[str, Any], Raw]:
    if not length.isascii() or not length.isdigit() or int(length) > len(body):
        raise RequestError(f"{_LENGTH} is {length[:20]!r}, the body has {len(body)} bytes")
    return parse_json(memoryview(body)[: int(length)]), Raw(body, int(length))
