"""Modelyard: from a training script to a healthy prediction service on Kubernetes.

Importing this package is cheap: every public name is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.client import connect, connect_sync
    from modelyard.model.opening import Model, open
    from modelyard.training.running import Run, run

__version__ = "0.1.0"

__all__ = ["Model", "Run", "__version__", "connect", "connect_sync", "open", "run"]

_HOMES = {
    "Model": "modelyard.model.opening",
    "open": "modelyard.model.opening",
    "connect": "modelyard.client",
    "connect_sync": "modelyard.client",
    "Run": "modelyard.training.running",
    "run": "modelyard.training.running",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'modelyard' has no attribute {name!r}")
    return getattr(import_module(home), name)
