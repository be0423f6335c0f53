"""PyTriton (NVIDIA Triton's own server in a wheel), as its documentation shows it. `serve_pytriton.py PORT`."""

import sys
from typing import Any

import numpy as np
from predicting import IDS, NUMBERS, load
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

model = load()


@batch
def predict(**inputs: Any) -> Any:
    found = model({name: values.ravel() for name, values in inputs.items()})
    return {"click": np.array(found, np.float32).reshape(-1, 1)}


if __name__ == "__main__":
    port = int(sys.argv[1])
    tensors = [Tensor(name=name, dtype=np.int32, shape=(1,)) for name in IDS]
    tensors += [Tensor(name=name, dtype=np.float32, shape=(1,)) for name in NUMBERS]
    with Triton(config=TritonConfig(http_port=port, grpc_port=port + 1, metrics_port=port + 2)) as triton:
        triton.bind(
            model_name="recommender",
            infer_func=predict,
            inputs=tensors,
            outputs=[Tensor(name="click", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=32),
        )
        triton.serve()
