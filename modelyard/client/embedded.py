"""A model in this process, behind the interface of a client."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from modelyard.client.calling import DeadlineExceeded, Refused
from modelyard.model.features import FeatureError
from modelyard.model.opening import Model, open

__all__ = ["EmbeddedModel"]


class EmbeddedModel:
    """Opens a package once, when it is first used; computes in a thread, so that the event loop goes on."""

    def __init__(self, uri: str, **options: Any) -> None:
        self._uri, self._options = uri, options
        self._opening: asyncio.Task[Model] | None = None

    async def predict(self, features: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """Return the answer for one instance."""
        return (await self.predict_many([features], timeout=timeout))[0]

    async def predict_many(self, rows: Sequence[Mapping[str, Any]], *, timeout: float | None = None) -> list[Any]:
        """Return the answers for many instances, in order."""
        model = await self._model()
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.to_thread(model.predict_many, rows)
        except FeatureError as error:
            raise Refused(str(error)) from error
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {timeout} s") from error

    async def version(self) -> str:
        """Return the version of the package."""
        return (await self._model()).version

    async def __aenter__(self) -> Self:
        await self._model()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening = None

    async def _model(self) -> Model:
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(open, self._uri, **self._options))
        return await asyncio.shield(self._opening)
