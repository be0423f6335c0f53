"""The stages of a ModelServing, in order: choice, fleet, roles, planner, children, status.

Truth lives in the serving's status (stable, candidate, rollout, rejected) and in its Deployments; each pass reads both
anew. A pass may be repeated, interrupted or given an old view: counts only go down by pods that others replace.
"""

from modelyard_operator.serving.concluding import conclude

__all__ = ["conclude"]
