"""What the state of a loop of one's own is made of: variables, wherever they are, and plain values."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from modelyard.model.encoders import Array
from modelyard.training.errors import ConfigurationError
from modelyard.training.remembering import pack, unpack
from modelyard.training.state import Position, State, assign, restore_random

__all__ = ["Tracked"]


class Tracked:
    """Named models, optimizers, modules, metrics, generators, variables, nests of them, and dicts of plain values."""

    def __init__(self, things: Mapping[str, Any]) -> None:
        """Raise ConfigurationError for what holds no variables."""
        self._values = {name: thing for name, thing in things.items() if _is_plain(thing)}
        self._things = {name: thing for name, thing in things.items() if name not in self._values}
        _build_optimizers(list(self._things.values()))
        for name, thing in self._things.items():
            if not list(_variables(name, thing)):
                raise ConfigurationError(f"run.track({name}=...) has no variables yet: call the model once before")

    @property
    def _all(self) -> list[Any]:
        return [variable for name, thing in self._things.items() for variable in _variables(name, thing)]

    def capture(self, position: Position) -> State:
        """Copy every variable and value."""
        kept: list[Array] = []
        position = replace(position, kept=pack(self._values, kept))
        return State(position, variables=[np.array(variable.numpy()) for variable in self._all], kept=kept)

    def restore(self, state: State) -> None:
        """Put a state back, dicts of plain values in place; raise ValueError if it is of other things."""
        assign(f"tracked {', '.join(self._things)}", self._all, state.variables)
        for name, values in unpack(state.position.kept, state.kept).items():
            if name in self._values:
                self._values[name].clear()
                self._values[name].update(values)
        restore_random(state.position)


def _is_plain(thing: Any) -> bool:
    """Return whether a thing is a mapping without any variable in it."""
    return isinstance(thing, dict) and not any(_holds_variables(value) for value in thing.values())


def _holds_variables(thing: Any) -> bool:
    if isinstance(thing, Mapping):
        return any(map(_holds_variables, thing.values()))
    if isinstance(thing, list | tuple):
        return any(map(_holds_variables, thing))
    return hasattr(thing, "assign") or hasattr(thing, "variables") or hasattr(thing, "state")


def _variables(name: str, thing: Any) -> Iterator[Any]:
    """Yield the variables of a thing in an order that is the same in every process."""
    if hasattr(thing, "assign") and hasattr(thing, "numpy"):
        yield thing
    elif isinstance(thing, Mapping):
        for key in sorted(thing):
            yield from _variables(f"{name}.{key}", thing[key])
    elif isinstance(thing, list | tuple):
        for place, item in enumerate(thing):
            yield from _variables(f"{name}[{place}]", item)
    elif hasattr(thing, "variables"):
        variables = thing.variables
        # the optimizers of TensorFlow before Keras 3 have a method
        yield from variables() if callable(variables) else variables
    elif hasattr(thing, "state"):
        yield from _variables(f"{name}.state", thing.state)
    else:
        raise ConfigurationError(
            f"run.track({name}=...) is a {type(thing).__name__}: expected a model, an optimizer, a module, a metric, a "
            "generator, a variable, a list or mapping of them, or a dict of plain values"
        )


def _build_optimizers(things: list[Any]) -> None:
    """Make the variables of an optimizer now, as Keras does at the first step: else there is nothing to go back to."""
    unbuilt = [
        thing for thing in things if getattr(thing, "built", True) is False and hasattr(thing, "apply_gradients")
    ]
    trained = [variable for thing in things for variable in getattr(thing, "trainable_variables", ())]
    for optimizer in unbuilt:
        if len(unbuilt) > 1:
            raise ConfigurationError("run.track: call optimizer.build(variables) first where there is more than one")
        optimizer.build(trained)
