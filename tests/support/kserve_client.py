"""KServe's own inference clients against a server, unchanged: `kserve_client.py HTTP-PORT GRPC-PORT`.

Prints their answers. Runs in an environment of its own.
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

PRICES, COUNTRIES = np.array([[80.0], [10.0]]), np.array([[b"de"], [b"nl"]], dtype=np.object_)


def request_for(*, binary: bool) -> InferRequest:
    inputs = [InferInput("price", [2, 1], "FP64"), InferInput("country", [2, 1], "BYTES")]
    inputs[0].set_data_from_numpy(PRICES, binary_data=binary)
    inputs[1].set_data_from_numpy(COUNTRIES, binary_data=binary)
    return InferRequest("clicks", inputs, request_id="1")


def clicks(response) -> list[float]:
    [output] = [output for output in response.outputs if output.name == "click"]
    return [float(str(np.float32(value))) for value in output.as_numpy().ravel()]


async def main(http: str, remote: str) -> dict[str, list[float]]:
    found = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        assert await client.is_server_live(http) is True
        assert await client.is_server_ready(http) is True
        assert await client.is_model_ready(http, "clicks") is True
        for name, binary in (("v2 JSON", False), ("v2 binary", True)):
            found[name] = clicks(await client.infer(http, request_for(binary=binary), model_name="clicks"))
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        assert await client.is_server_live(http) is True
        assert await client.is_model_ready(http, "clicks") is True
        rows = [{"price": 80.0, "country": "de"}, {"price": 10.0, "country": "nl"}]
        answer = await client.infer(http, {"instances": rows}, model_name="clicks")
        found["v1"] = [prediction["click"] for prediction in answer["predictions"]]
    async with InferenceGRPCClient(remote) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("clicks")
        for name, binary in (("gRPC", False), ("gRPC raw", True)):
            found[name] = clicks(await client.infer(request_for(binary=binary)))
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(f"http://127.0.0.1:{sys.argv[1]}", f"127.0.0.1:{sys.argv[2]}"))))
