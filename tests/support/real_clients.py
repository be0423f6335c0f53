"""Other people's clients against a server, unchanged: `real_clients.py HTTP-PORT GRPC-PORT`; prints their answers.

Runs in an environment of its own, from tests/support/real_clients.txt.
"""

import json
import sys

import grpc
import numpy as np
import tritonclient.grpc
import tritonclient.http
from grpc_health.v1 import health_pb2, health_pb2_grpc

PRICES, COUNTRIES = [[80.0], [10.0]], [[b"de"], [b"nl"]]


def ask(library, address: str) -> list[float]:
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


if __name__ == "__main__":
    http, remote = sys.argv[1:3]
    answers = {
        "http": ask(tritonclient.http, f"127.0.0.1:{http}"),
        "grpc": ask(tritonclient.grpc, f"127.0.0.1:{remote}"),
    }
    with grpc.insecure_channel(f"127.0.0.1:{remote}") as channel:
        checked = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""))
        answers["health"] = health_pb2.HealthCheckResponse.ServingStatus.Name(checked.status)
    print(json.dumps(answers))
