"""What a batch costs: measured once for each size that pays, then known for every number of instances."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["CostCurve", "measure_costs", "pieces"]

#: A larger batch must lower the cost of an instance to this share, or the curve ends there.
_WORTHWHILE = 0.97
_LEAST_RUNS, _MOST_RUNS = 3, 50


@dataclass(frozen=True, slots=True)
class CostCurve:
    """Seconds of one call by batch size, for the powers of two up to the best one."""

    seconds: Mapping[int, float]

    @property
    def best_batch(self) -> int:
        """The batch size, a power of two, with the least seconds an instance."""
        return max(self.seconds)

    def predict(self, instances: int) -> float:
        """Return the seconds that so many instances take, cut as a runtime cuts them."""
        full, rest = divmod(instances, self.best_batch)
        total = full * self.seconds[self.best_batch]
        return total + sum(self.seconds[size] for size in pieces(rest, self.best_batch))


def pieces(batch: int, largest: int) -> list[int]:
    """Return powers of two, falling, none above the largest (itself one), that add up to the batch."""
    sizes = [largest] * (batch // largest)
    rest = batch % largest
    return sizes + [1 << bit for bit in reversed(range(rest.bit_length())) if rest >> bit & 1]


def measure_costs(
    compute: Callable[[int], object], largest: int, clock: Callable[[], float], seconds: float = 0.01
) -> CostCurve:
    """Time `compute(size)` for 1, 2, 4, … up to `largest` while larger batches make an instance cheaper.

    Each size is run for about so many seconds; the least time counts, since everything else on the machine only adds.
    """
    measured: dict[int, float] = {}
    size = 1
    while size <= largest:
        compute(size)
        least, started = float("inf"), clock()
        for run in range(_MOST_RUNS):
            before = clock()
            compute(size)
            after = clock()
            least = min(least, after - before)
            if run + 1 >= _LEAST_RUNS and after - started >= seconds:
                break
        if measured and least / size > _WORTHWHILE * min(cost / known for known, cost in measured.items()):
            break
        measured[size] = least
        size *= 2
    return CostCurve(measured)
