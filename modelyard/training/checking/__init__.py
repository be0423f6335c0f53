"""`python -m modelyard.training check`: what the cluster would refuse, found without training anything."""

from modelyard.training.checking.checks import check
from modelyard.training.checking.findings import Finding

__all__ = ["Finding", "check"]
