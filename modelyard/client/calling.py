"""When a call is repeated: a budget for the whole client, waits that grow, and what the server asks for. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CallError", "DeadlineExceeded", "Overloaded", "Refused", "RetryBudget", "Retrying"]


class CallError(Exception):
    """A model could not be asked, or did not answer."""


class Refused(CallError, ValueError):
    """The request is wrong; asking again is of no use."""


class Overloaded(CallError):
    """More is asked than can be answered; `retry_after` is the seconds that the server asked for, if it did."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(CallError, TimeoutError):
    """There was no answer in time."""


class RetryBudget:
    """Allows repeats as a share of the calls, so that a failing server is not buried under repeated ones."""

    def __init__(self, share: float = 0.1, reserve: float = 10.0) -> None:
        self._share, self._most = share, reserve
        self._tokens = reserve

    def count_call(self) -> None:
        """Earn a share of a repeat."""
        self._tokens = min(self._most, self._tokens + self._share)

    def take(self) -> bool:
        """Spend a repeat; False when there is none."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


@dataclass(frozen=True, slots=True)
class Retrying:
    """How often and how late a failed call is repeated."""

    attempts: int = 3
    """Calls in all, at most."""
    base: float = 0.02
    """Seconds before the second call, on average; doubled each time."""
    most: float = 1.0
    """Longest wait of our own choosing, in seconds."""

    def wait(self, failures: int, error: CallError, remaining: float, random: Callable[[], float]) -> float | None:
        """Return the seconds to wait after so many failed calls, or None to give up.

        `random` gives numbers from 0 to 1, so that clients that failed together do not come back together.
        """
        if failures >= self.attempts or isinstance(error, Refused | DeadlineExceeded):
            return None
        wait = min(self.most, self.base * 2 ** (failures - 1)) * (0.5 + random())
        if isinstance(error, Overloaded) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        return wait if wait < remaining else None
