"""Hostile requests: thousands of damaged ones through every door, and none ends in an internal error."""

import json
import random
import time
from typing import Any

import pytest
from multidict import CIMultiDict

from modelyard.contract.options import ServingOptions
from modelyard.contract.wire import Published
from modelyard_server.asking import Ask
from modelyard_server.doors.routing import Doors
from modelyard_server.loading import build_core, load_model
from modelyard_server.settings import ServerSettings
from tests.support.damage import damage
from tests.support.packages import SAMPLES
from tests.unit.serving_image.test_doors import binary, tensors


@pytest.mark.parametrize("seed", range(3))
async def test_damaged_requests_are_refused_and_never_an_error(published: Published, seed: int):
    settings = ServerSettings("clicks", published.uri, options=ServingOptions())
    core = await build_core(load_model(settings, lambda _: None), settings)
    doors = Doors(core, time.perf_counter)
    chance = random.Random(seed)
    v1, v2 = "/v1/models/clicks", "/v2/models/clicks/infer"
    whole: list[tuple[str, Any]] = [
        (f"{v1}:predict", {"instances": SAMPLES}),
        (f"{v1}:predict", {"inputs": {"price": [1, 2], "country": ["nl", "de"]}}),
        (f"{v1}:classify", {"examples": SAMPLES, "context": {"price": 1}}),
        (v2, {"inputs": tensors(SAMPLES[:1]), "id": "1"}),
        (v2, {"inputs": tensors(SAMPLES), "outputs": [{"name": "tags", "parameters": {"binary_data": True}}]}),
    ]
    raw, length = binary(SAMPLES)
    seen = set()
    for number in range(3000):
        headers: CIMultiDict[str] = CIMultiDict()
        path, document = chance.choice(whole)
        body = json.dumps(damage(document, chance), ensure_ascii=False).encode("utf-8", "surrogatepass")
        query = ""
        if number % 4 == 1:
            place = chance.randrange(len(raw))
            body = raw[:place] + chance.randbytes(chance.randrange(6)) + raw[place + chance.randrange(6) :]
            path, headers = (
                v2,
                CIMultiDict({"Inference-Header-Content-Length": chance.choice([length, "0", "-1", "²"])}),
            )
        if number % 4 == 2:
            body = bytes(chance.choice(body) if chance.random() < 0.05 else byte for byte in body)
        if number % 50 == 3:
            query = chance.choice(
                ["price=%ff", "price=1&price=2", "&&&=", "price=1e400", "%00=1", "price=" + "9" * 5000]
            )
        if number % 50 == 7:
            headers["x-modelyard-deadline-ms"] = chance.choice(["nan", "inf", "-1", "", "1e-30", "x"])
        ask = Ask("GET" if query else "POST", path, query, headers, body, time.perf_counter())
        reply = await doors.answer(ask)
        seen.add(reply.status)
        assert reply.status < 500 or reply.status == 503, (path, query, dict(headers), body[:500], reply.body)
    assert {200, 400} <= seen
