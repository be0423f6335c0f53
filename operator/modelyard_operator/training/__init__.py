"""The stages of a ModelTraining, in order: trigger, run, prepare, retention, record, children, gate, status.

A training has one current run, named by its trigger. The run's Job does the work; what its pods tell is recorded in
the status and in ModelCheckpoints; what has been recorded is never run again.
"""

from datetime import datetime

from modelyard_operator.outcome import Outcome, TrainingView
from modelyard_operator.training.children import plan_children
from modelyard_operator.training.history import remember
from modelyard_operator.training.prepare import prepare
from modelyard_operator.training.record import record_checkpoints
from modelyard_operator.training.retention import forget_collected, retain
from modelyard_operator.training.run import observe_current
from modelyard_operator.training.status import report
from modelyard_operator.training.steps import chain, equip
from modelyard_operator.training.trigger import pull_trigger

__all__ = ["conclude"]


def conclude(view: TrainingView, now: datetime) -> Outcome:
    """Decide what a training needs now."""
    if view.training.metadata.deletion_timestamp is not None:
        return Outcome(view.training.status)
    trigger = pull_trigger(view)
    steps = chain(view)
    preparation = prepare(view, trigger, steps, observe_current(view, trigger, now), now)
    current = preparation.run
    keeping = retain(view, current, now)
    checkpoints = record_checkpoints(view)
    ready = preparation.ready and not keeping.at_work
    plan = plan_children(equip(view, steps), trigger, current, ready=ready)
    history = forget_collected(remember(view, trigger, current, now), view, keeping)
    conclusion = report(view, trigger, preparation, history, now)
    plans = (preparation.plan, plan, keeping.plan)
    looks = [seconds for seconds in (current.look_again if current else None, keeping.look_again) if seconds]
    return Outcome(
        conclusion.status.model_copy(update={"retention": keeping.status}),
        apply=(*(item for plan in plans for item in plan.apply), *checkpoints.apply),
        delete=tuple(item for plan in plans for item in plan.delete),
        events=(*(item for plan in plans for item in plan.events), *checkpoints.events, *conclusion.events),
        requeue_after=min(looks, default=None),
    )
