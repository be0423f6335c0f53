"""BentoML, as its documentation shows it."""

import bentoml
from predicting import load


@bentoml.service(workers=1)
class Predict:
    def __init__(self) -> None:
        self.model = load()

    @bentoml.api
    def predict(self, columns: dict) -> dict:
        return {"click": self.model(columns)}
