"""mosec, as its documentation shows it."""

from typing import Any

from mosec import Server, Worker
from predicting import load


class Predict(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.model = load()

    def forward(self, data: Any) -> Any:
        return {"click": self.model(data)}


if __name__ == "__main__":
    server = Server()
    server.append_worker(Predict, num=1)
    server.run()
