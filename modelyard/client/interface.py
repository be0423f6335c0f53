"""What every client can do."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

__all__ = ["Client"]


class Client(Protocol):
    """A model to ask, with `async with` around its use."""

    async def predict(self, features: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        """Return the answer for one instance, within so many seconds.

        Raises Refused for features that do not fit, Overloaded, DeadlineExceeded or another CallError.
        """

    async def predict_many(self, rows: Sequence[Mapping[str, Any]], *, timeout: float | None = None) -> list[Any]:
        """Return the answers for many instances, in order."""

    async def version(self) -> str:
        """Return which version answers now."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
