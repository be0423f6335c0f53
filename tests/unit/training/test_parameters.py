"""Hyperparameters as an object of the script's own class."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from modelyard.training.errors import ConfigurationError
from modelyard.training.parameters import read_parameters


@dataclass
class Plain:
    epochs: int
    rate: float = 0.1
    units: tuple[int, ...] = (8, 4)
    name: str | None = None
    extra: dict[str, int] = field(default_factory=dict)


class Bounded(BaseModel):
    epochs: Annotated[int, Field(ge=1)] = 1
    mode: Literal["wide", "deep"] = "wide"


def test_values_keep_their_types_and_what_is_absent_has_its_default():
    assert read_parameters(Plain, {"epochs": 3, "rate": 1, "units": [2, 3]}) == Plain(3, 1.0, (2, 3))
    assert read_parameters(Bounded, {"mode": "deep"}) == Bounded(mode="deep")


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (Plain, {}, "spec.hyperparameters.epochs is missing: give int, in the manifest or with --set epochs=VALUE"),
        (Plain, {"epochs": "3"}, "spec.hyperparameters.epochs is '3': input should be a valid integer"),
        (Plain, {"epochs": True}, "spec.hyperparameters.epochs is True: "),
        (Plain, {"epochs": 3, "epoch": 1}, "spec.hyperparameters.epoch: no such hyperparameter; did you mean epochs?"),
        (Plain, {"epochs": 3, "units": [1, "x"]}, "spec.hyperparameters.units.1 is 'x'"),
        (Bounded, {"epochs": 0}, "spec.hyperparameters.epochs is 0: input should be greater than or equal to 1"),
        (Bounded, {"mode": "both"}, "input should be 'wide' or 'deep'"),
        (Bounded, {"zzz": 1}, "no such hyperparameter; Bounded has epochs, mode"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(kind: type, values: dict, words: str):
    with pytest.raises(ConfigurationError) as raised:
        read_parameters(kind, values)
    assert words in str(raised.value)


def test_every_problem_is_told_at_once_and_other_classes_are_refused():
    with pytest.raises(ConfigurationError, match=r"epoch: no such .*; spec\.hyperparameters\.epochs is missing"):
        read_parameters(Plain, {"epoch": 1})
    with pytest.raises(TypeError, match="neither a dataclass nor"):
        read_parameters(int, {})
