"""Gate: the verdicts that the checkpoints' own passes reached, mirrored for the training. Nothing is judged here."""

from dataclasses import dataclass

from modelyard.contract.checkpoint import ModelCheckpoint
from modelyard_operator.checkpoint.gate import applies, passed, recency
from modelyard_operator.outcome import TrainingView

__all__ = ["Standing", "mirror_gate"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the training's checkpoints stand with its present gate."""

    newest: ModelCheckpoint | None
    champion: ModelCheckpoint | None
    """The newest that passed."""
    text: str | None
    """The verdict on the newest, for people; None while it is awaited."""


def mirror_gate(view: TrainingView) -> Standing:
    """Return how the checkpoints stand."""
    gate = view.training.spec.gate
    ordered = sorted(view.checkpoints, key=recency, reverse=True)
    newest = ordered[0] if ordered else None
    champion = next((checkpoint for checkpoint in ordered if passed(checkpoint, gate)), None)
    return Standing(newest, champion, newest.status.gate if newest and applies(newest, gate) else None)
