"""LitServe, as its documentation shows it. `serve_litserve.py PORT`."""

import sys
from typing import Any

import litserve
from predicting import load


class Predict(litserve.LitAPI):
    def setup(self, device: Any) -> None:
        self.model = load()

    def decode_request(self, request):
        return request

    def predict(self, columns: Any) -> Any:
        return self.model(columns)

    def encode_response(self, found: Any) -> Any:
        return {"click": found}


if __name__ == "__main__":
    server = litserve.LitServer(Predict(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error")
