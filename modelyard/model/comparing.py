"""Variants beside the original: what each costs and saves, measured on held-out data before it is offered."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from modelyard.contract.package import OutputKind, Variant
from modelyard.model.encoders import Array
from modelyard.model.opening import Executor, Model

__all__ = ["Original", "compare", "time_executor"]

#: Two numbers of a regression within this share of each other count as the same.
_SAME = 0.01
_BATCH = 32
_SECONDS = 0.05

#: From finished outputs by name, on the held-out rows, to metrics by name.
Evaluate = Callable[[Mapping[str, Array]], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Original:
    """What the variants are measured against."""

    inputs: Mapping[str, Array]
    """Encoded held-out rows."""
    outputs: Mapping[str, Array]
    """Finished outputs of the original on them."""
    evaluate: Evaluate | None
    max_loss: float


def compare(
    opened: Model,
    outputs: Mapping[str, Array],
    original: Original,
    clock: Callable[[], float] = time.perf_counter,
) -> Variant:
    """Return the opened variant with its figures; it is offered only if it loses no more than allowed."""
    single, batch = time_executor(opened.executor, original.inputs, clock)
    difference = max(float(np.max(np.abs(outputs[name] - original.outputs[name]))) for name in outputs)
    agreement = _agreement(opened, outputs, original.outputs)
    loss, what = _loss(outputs, original) if original.evaluate else (1 - agreement, "decisions that differ")
    figures = {
        "seconds": single,
        "batch_seconds": batch,
        "difference": difference,
        "agreement": agreement,
        "loss": loss,
    }
    # a loss that is no number is too large
    if not loss <= original.max_loss:
        reason = f"{what}: {loss:.4g}, spec.optimise.maxLoss allows {original.max_loss:g}"
        return opened.variant.model_copy(update={**figures, "serve": False, "reason": reason})
    return opened.variant.model_copy(update=figures)


def time_executor(
    executor: Executor, inputs: Mapping[str, Array], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Return the seconds of an instance: alone, and in batches of 32. The least counts: noise only adds."""
    row = [values[0] for values in inputs.values()]
    many = {name: np.resize(values, (_BATCH, *values.shape[1:])) for name, values in inputs.items()}
    return _least(lambda: executor.compute_row(row), clock), _least(lambda: executor.compute(many), clock) / _BATCH


def _least(call: Callable[[], object], clock: Callable[[], float]) -> float:
    call()
    least, started = float("inf"), clock()
    while clock() - started < _SECONDS:
        before = clock()
        call()
        least = min(least, clock() - before)
    return least


def _agreement(model: Model, outputs: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Return the share of decisions that are the same: above or below one half, or within one hundredth."""
    same = []
    for output in model.labels.outputs:
        ours, theirs = outputs[output.name], expected[output.name]
        if output.kind in (OutputKind.PROBABILITY, OutputKind.TAGS):
            same.append(((ours >= 0.5) == (theirs >= 0.5)).ravel())
        else:
            same.append((np.abs(ours - theirs) <= _SAME * np.maximum(np.abs(theirs), 1e-6)).ravel())
    return float(np.mean(np.concatenate(same)))


def _loss(outputs: Mapping[str, Array], original: Original) -> tuple[float, str]:
    """Return the largest change of a metric, and which one."""
    assert original.evaluate is not None
    ours, theirs = original.evaluate(outputs), original.evaluate(original.outputs)
    changes = {name: abs(float(ours[name]) - float(theirs[name])) for name in theirs}
    # not a number counts as the largest
    worst = max(changes, key=lambda name: (not np.isfinite(changes[name]), changes[name]))
    return changes[worst], f"change of {worst}"
