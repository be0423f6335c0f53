"""Mistakes that no repeat of a run mends."""

__all__ = ["ConfigurationError"]


class ConfigurationError(ValueError):
    """The manifest or the script is wrong; the message names the field and the fix."""
