"""MLServer's custom runtime, as its documentation shows it."""

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from predicting import load


class Predict(MLModel):
    async def load(self) -> bool:
        self.model = load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        found = self.model({tensor.name: list(tensor.data) for tensor in payload.inputs})
        output = ResponseOutput(name="click", shape=[len(found)], datatype="FP32", data=found)
        return InferenceResponse(model_name=self.name, outputs=[output])
