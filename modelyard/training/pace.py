"""How fast a run goes: what the time that is left is told from."""

import math

__all__ = ["Pace"]

#: What happened so many seconds ago counts about a third.
_MEMORY = 600.0
#: A pause as long as this, and ten times as long as any stretch before it, is no part of training: the process slept.
_PAUSE = 3600.0


class Pace:
    """Steps a second of about the last ten minutes."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None
        self._seconds = self._steps = self._longest = 0.0

    def note(self, now: float, step: int) -> None:
        """Take note that `step` steps are done at the time `now`, in seconds of any clock that never goes back."""
        if self._last is None:
            self._last = now, step
            return
        seconds, steps = now - self._last[0], step - self._last[1]
        if steps <= 0 or seconds <= 0:
            return
        self._last = now, step
        if seconds >= _PAUSE and seconds >= 10 * self._longest > 0:
            return
        self._longest = max(self._longest, seconds)
        faded = math.exp(-seconds / _MEMORY)
        self._seconds = self._seconds * faded + seconds
        self._steps = self._steps * faded + steps

    @property
    def rate(self) -> float | None:
        """Steps a second; None while it is not known."""
        return self._steps / self._seconds if self._seconds else None
