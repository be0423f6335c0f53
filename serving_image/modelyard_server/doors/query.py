"""`GET …:predict?country=nl&price=120`: every feature a parameter, so that any HTTP cache can keep the answer."""

from zlib import crc32

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
        self._digest = core.model.digest.removeprefix("sha256:")[:32]

    async def predict(self, ask: Ask) -> Reply:
        """Answer, or say that the client's copy is still right."""
        # a tag is only ever compared for one URL, so that the package alone makes it strong
        headers = {"ETag": f'"{self._digest}-{crc32(ask.query.encode()):08x}"', **self._headers}
        if headers["ETag"] in ask.headers.get("If-None-Match", ""):
            return Reply(status=304, headers=headers)
        core = self._core
        answer = await core.answer_query(ask.query, ask)
        answered = timed({"predictions": core.model.answerer.json_rows(answer.outputs)}, answer)
        answered.headers = headers
        return answered
