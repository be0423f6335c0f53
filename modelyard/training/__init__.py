"""What a training script calls: `run = modelyard.run()`, `run.callback()`, `run.publish(...)`."""

from modelyard.training.errors import ConfigurationError
from modelyard.training.running import Run, run

__all__ = ["ConfigurationError", "Run", "run"]
