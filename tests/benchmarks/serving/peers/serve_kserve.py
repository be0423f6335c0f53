"""KServe's Python server, as its documentation shows it."""

import argparse
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server
from predicting import load


class Predict(Model):
    def __init__(self) -> None:
        super().__init__("recommender")
        self.model = load()
        self.ready = True

    def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        found = self.model({tensor.name: tensor.data for tensor in payload.inputs})
        output = InferOutput("click", [len(found)], "FP32", data=found)
        return InferResponse(payload.id or "1", "recommender", [output])


if __name__ == "__main__":
    arguments, _ = argparse.ArgumentParser(parents=[model_server.parser]).parse_known_args()
    ModelServer(workers=1, http_port=arguments.http_port, enable_grpc=False).start([Predict()])
