"""What every door speaks: a request and a reply without a transport, and what went wrong as a status."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard.contract.wire import Header
from modelyard.model.encoders import Array

__all__ = ["Answer", "Ask", "DeadlineError", "Reply", "RequestError"]


class RequestError(ValueError):
    """The request cannot be answered as it is; becomes an answer with this status and message."""

    def __init__(self, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class DeadlineError(RequestError):
    """The answer would come too late, or would have."""

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, 503, headers)


@dataclass(slots=True)
class Ask:
    """A whole request."""

    method: str
    path: str
    """Percent-decoding is the router's."""
    query: str
    """Raw, without the question mark."""
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes
    arrived: float
    """Seconds of the monotonic clock."""

    def deadline(self, allowed: float) -> float:
        """Return when the answer is due: what the request's header says, at most `allowed` seconds after arrival."""
        told = self.headers.get(Header.DEADLINE)
        if told is None:
            return self.arrived + allowed
        try:
            milliseconds = float(told)
        except ValueError:
            milliseconds = -1.0
        if not 0 < milliseconds < 1e9:
            raise RequestError(f"{Header.DEADLINE} is {told[:60]!r}: a number of milliseconds is expected")
        return self.arrived + min(milliseconds / 1e3, allowed)


@dataclass(slots=True)
class Answer:
    """Finished outputs by name, how many instances they are, and the seconds that went into them."""

    outputs: dict[str, Array]
    rows: int
    queue: float
    encode: float
    compute: float


@dataclass(slots=True)
class Reply:
    """A whole answer."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    answer: Answer | None = None
    """What was computed for it, if anything."""
