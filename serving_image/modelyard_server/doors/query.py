"""`GET …:predict?country=nl&price=120`: every feature a parameter, so that any HTTP cache can keep the answer."""

from hashlib import sha256
from urllib.parse import parse_qsl

from modelyard_server.asking import Ask, Reply
from modelyard_server.core import Core
from modelyard_server.doors.documents import timed

__all__ = ["QueryDoor"]


class QueryDoor:
    """Answers for one instance."""

    def __init__(self, core: Core) -> None:
        self._core = core
        age = core.options.cache.max_age_seconds
        self._headers = {"Cache-Control": f"public, max-age={age}" if age else "no-cache"}
        self._seed = sha256(f"{core.model.digest} {core.name}?".encode())

    async def predict(self, ask: Ask) -> Reply:
        """Answer, or say that the client's copy is still right."""
        hashed = self._seed.copy()
        hashed.update(ask.query.encode())
        headers = {"ETag": f'"{hashed.hexdigest()[:32]}"', **self._headers}
        if headers["ETag"] in ask.headers.get("If-None-Match", ""):
            return Reply(status=304, headers=headers)
        core = self._core
        row = core.model.encoder.parse_query(_pairs(ask.query))
        answer = await core.answer_row(row, ask)
        answered = timed({"predictions": core.model.answerer.json_rows(answer.outputs)}, answer)
        answered.headers = headers
        return answered


def _pairs(query: str) -> list[tuple[str, str]]:
    """Return names and texts; what is not escaped needs no unescaping."""
    if "%" in query or "+" in query:
        return parse_qsl(query, keep_blank_values=True)
    pairs = [part.partition("=") for part in query.split("&") if part]
    return [(name, text) for name, _, text in pairs]
