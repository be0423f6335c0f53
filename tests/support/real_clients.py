"""Other people's clients against a server, unchanged: `real_clients.py HTTP-PORT GRPC-PORT`; prints their answers.

Runs in an environment of its own, from tests/support/real_clients.txt.
"""

import base64
import json
import sys

import grpc
import numpy as np
import requests
import tritonclient.grpc
import tritonclient.http
from grpc_health.v1 import health_pb2, health_pb2_grpc

PRICES, COUNTRIES = [[80.0], [10.0]], [[b"de"], [b"nl"]]


def ask(library, address: str) -> list[float]:
    """Triton's client, with binary tensors over HTTP or over gRPC."""
    client = library.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("clicks")
    inputs = [library.InferInput("price", [2, 1], "FP64"), library.InferInput("country", [2, 1], "BYTES")]
    inputs[0].set_data_from_numpy(np.array(PRICES))
    inputs[1].set_data_from_numpy(np.array(COUNTRIES, dtype=np.object_))
    outputs = [library.InferRequestedOutput("click"), library.InferRequestedOutput("tags")]
    found = client.infer("clicks", inputs, outputs=outputs, request_id="1")
    assert found.as_numpy("tags").shape == (2, 3)
    client.close()
    return [float(str(value)) for value in found.as_numpy("click").ravel()]


def ask_tensorflow_serving(address: str) -> dict[str, list[float]]:
    """TensorFlow Serving's REST API with requests, as its guides show it."""
    found, url = {}, f"http://{address}/v1/models/clicks"
    with requests.Session() as session:
        status = session.get(url).json()["model_version_status"][0]
        assert status["state"] == "AVAILABLE"
        assert status["status"]["error_code"] == "OK"
        assert session.get(f"{url}/metadata").json()["model_spec"]["name"] == "clicks"
        examples = [
            {"price": price, "country": country.decode()} for [price], [country] in zip(PRICES, COUNTRIES, strict=True)
        ]
        rows = session.post(f"{url}:predict", json={"signature_name": "serving_default", "instances": examples})
        rows.raise_for_status()
        found["rows"] = [prediction["click"] for prediction in rows.json()["predictions"]]
        columns = {"price": [80.0, 10.0], "country": ["de", "nl"]}
        answer = session.post(f"{url}/versions/{status['version']}:predict", data=json.dumps({"inputs": columns}))
        found["columns"] = answer.json()["outputs"]["click"]
        found["regress"] = session.post(f"{url}:regress", json={"examples": examples}).json()["results"]
        [first, _] = session.post(f"{url}:classify", json={"examples": examples}).json()["result"]
        assert [label for label, _ in first] == ["animal", "dog", "car"]
        encoded = {"b64": base64.b64encode(b"x").decode()}
        refused = session.post(f"{url}:predict", json={"instances": [{"price": encoded}]})
        assert (refused.status_code, list(refused.json())) == (400, ["error"])
    return found


if __name__ == "__main__":
    http, remote = (f"127.0.0.1:{port}" for port in sys.argv[1:3])
    answers = {"http": ask(tritonclient.http, http), "grpc": ask(tritonclient.grpc, remote)}
    answers |= ask_tensorflow_serving(http)
    with grpc.insecure_channel(remote) as channel:
        checked = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""))
        answers["health"] = health_pb2.HealthCheckResponse.ServingStatus.Name(checked.status)
    print(json.dumps(answers))
