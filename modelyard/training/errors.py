"""Mistakes that no repeat of a run mends."""

__all__ = ["ConfigurationError", "DataChangedError", "DivergedError", "raised_within", "remember"]


class ConfigurationError(ValueError):
    """The manifest or the script is wrong; the message names the field and the fix."""


class DataChangedError(ConfigurationError):
    """Data changed while a run reads it: its numbers would belong to no version of the data."""


class DivergedError(ArithmeticError):
    """The loss is no number any more; the same seed and data lead there again."""


_remembered: list[ConfigurationError] = []


def remember(error: ConfigurationError) -> ConfigurationError:
    """Keep an error that is raised below tf.data, which hands on its words but not its type."""
    _remembered.append(error)
    return error


def raised_within(error: BaseException) -> BaseException:
    """Return the error of ours that another one only quotes; the other one itself if there is none."""
    text = str(error)
    return next((known for known in reversed(_remembered) if str(known) in text), error)
