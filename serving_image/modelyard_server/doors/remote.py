"""The Open Inference Protocol over gRPC, with health checking and reflection, on a port of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from modelyard import __version__
from modelyard.contract.wire import Header
from modelyard.model.features import FeatureError
from modelyard_server import inference_pb2
from modelyard_server.access import Certificate, KeyRing
from modelyard_server.asking import Ask, DeadlineError, RequestError
from modelyard_server.core import Core
from modelyard_server.doors.inference import EXTENSION
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

__all__ = ["Remote", "RemoteDoor", "messages", "start_remote"]

#: Made when the module is loaded, out of the serialised protocol: no static type knows its members.
messages: Any = inference_pb2
SERVICE = "inference.GRPCInferenceService"
#: Open Inference datatype to the field of `InferTensorContents` that holds it.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class RemoteDoor:
    """Answers the methods of the service."""

    def __init__(self, core: Core, clock: Callable[[], float], keys: KeyRing | None) -> None:
        self._core, self._clock, self._keys = core, clock, keys
        self._bytes = core.model.encoder.takes_bytes

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service's methods."""
        answers = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._metadata,
            "ModelInfer": self._infer,
        }
        methods = {}
        for name, answer in answers.items():
            request = getattr(messages, f"{name}Request")
            response = getattr(messages, f"{name}Response")
            methods[name] = grpc.unary_unary_rpc_method_handler(
                self._guarded(answer),
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _guarded(self, answer: Callable[[Any, Ask], Any]) -> Callable[[Any, Any], Any]:
        """Return the method that counts every call and turns errors into statuses."""

        async def call(request: Any, context: Any) -> Any:
            arrived = self._clock()
            status, computed = 200, None
            try:
                headers = dict(context.invocation_metadata() or ())
                if self._keys is not None:
                    self._keys.check({"Authorization": headers.get("authorization", ""), **headers})
                remaining = context.time_remaining()
                if remaining is not None:
                    headers[Header.DEADLINE] = str(max(remaining * 1e3, 1e-3))
                response, computed = await answer(request, Ask("POST", "", "", headers, b"", arrived))
                return response
            except (FeatureError, RequestError) as refusal:
                error = refusal if isinstance(refusal, RequestError) else RequestError(str(refusal))
                status = error.status
                late = isinstance(error, DeadlineError)
                code = grpc.StatusCode.DEADLINE_EXCEEDED if late else _CODES.get(status, grpc.StatusCode.UNKNOWN)
                context.set_trailing_metadata([(name.lower(), value) for name, value in error.headers.items()])
                await context.abort(code, str(error))
            finally:
                self._core.telling.observe(status, self._clock() - arrived, computed)

        return call

    async def _live(self, _: Any, __: Ask) -> tuple[Any, None]:
        return messages.ServerLiveResponse(live=True), None

    async def _ready(self, _: Any, __: Ask) -> tuple[Any, None]:
        return messages.ServerReadyResponse(ready=True), None

    async def _model_ready(self, request: Any, _: Ask) -> tuple[Any, None]:
        self._check(request.name, request.version)
        return messages.ModelReadyResponse(ready=True), None

    async def _server(self, _: Any, __: Ask) -> tuple[Any, None]:
        return messages.ServerMetadataResponse(name="modelyard", version=__version__, extensions=[EXTENSION]), None

    async def _metadata(self, request: Any, _: Ask) -> tuple[Any, None]:
        self._check(request.name, request.version)
        model = self._core.model
        described = messages.ModelMetadataResponse(
            name=self._core.name,
            versions=[self._core.version],
            platform=model.platform,
            inputs=describe_inputs(model),
            outputs=describe_outputs(model),
        )
        return described, None

    async def _infer(self, request: Any, ask: Ask) -> tuple[Any, Any]:
        self._check(request.model_name, request.model_version)
        answer = await self._core.answer_columns(self._columns(request), ask)
        response = messages.ModelInferResponse(
            model_name=self._core.name, model_version=self._core.version, id=request.id
        )
        known = [output.name for output in self._core.model.labels.outputs]
        for name in [output.name for output in request.outputs] or known:
            values = answer.outputs[check_output(name, known)]
            response.outputs.add(name=name, datatype="FP32", shape=values.shape)
            response.raw_output_contents.append(to_bytes(values))
        return response, answer

    def _columns(self, request: Any) -> dict[str, Any]:
        raw: Sequence[bytes] = request.raw_input_contents
        if raw and len(raw) != len(request.inputs):
            raise RequestError(f"{len(raw)} `raw_input_contents` for {len(request.inputs)} inputs")
        columns: dict[str, Any] = {}
        for place, tensor in enumerate(request.inputs):
            name, shape = check_shape(tensor.name, list(tensor.shape))
            if raw:
                values: Any = from_bytes(name, tensor.datatype, shape, memoryview(raw[place]))
            else:
                field = _CONTENTS.get(tensor.datatype)
                if field is None:
                    raise RequestError(f"{name}: `datatype` {tensor.datatype!r} is none of {', '.join(_CONTENTS)}")
                values = from_list(name, shape, list(getattr(tensor.contents, field)))
            keep_column(columns, name, values, as_text=tensor.datatype == "BYTES" and name not in self._bytes)
        return columns

    def _check(self, name: str, version: str) -> None:
        if name != self._core.name or version not in ("", self._core.version):
            raise RequestError(f"there is no model {name!r} version {version!r}", 404)


class Remote:
    """A running gRPC server."""

    def __init__(self, server: grpc.aio.Server, port: int) -> None:
        self._server = server
        self.port = port

    async def stop(self, grace: float) -> None:
        """Refuse new calls and wait for those under way, at most so many seconds."""
        await self._server.stop(grace)


async def start_remote(
    core: Core,
    port: int,
    keys: KeyRing | None,
    *,
    tls: Certificate | None,
    host: str = "[::]",
    clock: Callable[[], float] = time.perf_counter,
) -> Remote:
    """Start the gRPC server: inference, health and reflection."""
    limit = core.options.admission.max_body_bytes
    options: Mapping[str, int] = {
        "grpc.max_receive_message_length": limit,
        "grpc.max_send_message_length": -1,
        "grpc.so_reuseport": 0,
    }
    server = grpc.aio.server(options=list(options.items()))
    server.add_generic_rpc_handlers((RemoteDoor(core, clock, keys).handler(),))
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for service in ("", SERVICE):
        await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    address = f"{host}:{port}"
    if tls is None:
        bound = server.add_insecure_port(address)
    else:
        certificate = tls

        def configuration() -> Any:
            return grpc.ssl_server_certificate_configuration([certificate.pair()])

        bound = server.add_secure_port(address, grpc.dynamic_ssl_server_credentials(configuration(), configuration))
    await server.start()
    return Remote(server, bound)
