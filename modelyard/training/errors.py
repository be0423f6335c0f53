"""Mistakes that no repeat of a run mends."""

__all__ = ["ConfigurationError", "DivergedError"]


class ConfigurationError(ValueError):
    """The manifest or the script is wrong; the message names the field and the fix."""


class DivergedError(ArithmeticError):
    """The loss is no number any more; the same seed and data lead there again."""
