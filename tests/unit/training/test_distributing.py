"""A process's place among others, what they agree on, and how a batch is shared. Whole trainings: tests/api."""

import json
from typing import Any

import numpy as np
import pytest

from modelyard.training.distributing import Group, Place, place_of
from modelyard.training.errors import ConfigurationError
from modelyard.training.sharing import Shares

PAIR = {"worker": ["a:1", "b:1"]}
COORDINATED = {"chief": ["c:1"], **PAIR, "ps": ["p:1"]}


def test_the_place_is_what_tf_config_says():
    assert place_of({}) is None
    assert place_of({"TF_CONFIG": json.dumps({"cluster": {}, "task": {"type": "worker", "index": 0}})}) is None
    place = place_of({"TF_CONFIG": json.dumps({"cluster": PAIR, "task": {"type": "worker", "index": 1}})})
    assert place is not None
    assert (place.type, place.index, place.is_chief, place.serves) == ("worker", 1, False, False)


@pytest.mark.parametrize(
    ("kind", "index", "cluster", "is_chief", "serves"),
    [
        ("worker", 0, PAIR, True, False),
        ("evaluator", 0, PAIR, False, False),
        ("chief", 0, COORDINATED, True, False),
        ("worker", 0, COORDINATED, False, True),
        ("ps", 0, COORDINATED, False, True),
    ],
)
def test_who_is_the_chief_and_who_only_serves_it(kind: str, index: int, cluster: Any, is_chief: bool, serves: bool):
    place = Place(kind, index, cluster)
    assert (place.is_chief, place.serves) == (is_chief, serves)


class Fixed(Group):
    """A group whose sums are as if the others had added `others`."""

    def __init__(self, place: Place, others: list[float]) -> None:
        self.now, self.asked, self._others = 0.0, 0, others
        super().__init__(None, place, lambda: self.now)  # type: ignore[arg-type]

    def add(self, numbers: list[float]) -> list[float]:
        self.asked += 1
        others = self._others + [0.0] * (len(numbers) - len(self._others))
        return [float(mine) + other for mine, other in zip(numbers, others, strict=False)]


def test_one_that_is_told_to_stop_stops_all_and_only_the_chief_says_when_to_save():
    worker = Fixed(Place("worker", 1, PAIR), [0, 0, 1])
    assert worker.decide(1, stop=True, save=False) == (True, False)
    assert Fixed(Place("worker", 1, PAIR), [0, 0, 1]).decide(1, stop=False, save=True) == (False, False)
    assert Fixed(Place("worker", 1, PAIR), [0, 1, 1]).decide(1, stop=False, save=False) == (False, True)
    assert Fixed(Place("worker", 0, PAIR), [0, 0, 0]).decide(1, stop=False, save=True) == (False, True)


def test_they_meet_about_once_a_second_and_whenever_all_say_now():
    chief = Fixed(Place("worker", 0, PAIR), [0, 0, 0])
    for step in range(1, 101):
        chief.now += 0.1
        chief.decide(step, stop=False, save=False)
    assert 8 <= chief.asked <= 14
    before = chief.asked
    chief.decide(100, stop=False, save=False, now=True)
    assert chief.asked == before + 1


def test_a_coordinator_decides_alone():
    chief = Fixed(Place("chief", 0, COORDINATED), [])
    assert chief.decide(1, stop=True, save=False) == (True, False)
    assert chief.agrees(5)
    assert chief.asked == 0


def test_processes_that_found_other_states_notice():
    assert Fixed(Place("worker", 0, PAIR), [0]).agrees(7)
    assert not Fixed(Place("worker", 1, PAIR), [9]).agrees(7)


class Replicas:
    """A strategy as far as shares ask it."""

    def __init__(self, count: int) -> None:
        self.num_replicas_in_sync = count


def shares_of(replicas: int, count: int, *arrays: Any) -> list[Any]:
    shares = Shares(Replicas(replicas), rows=12 + count, batch_size=12)
    rows = np.arange(count)
    return [
        shares.take(lambda taken: tuple(array[np.asarray(taken)] for array in arrays), rows, n) for n in range(replicas)
    ]


@pytest.mark.parametrize("count", [12, 5, 2, 1])
def test_the_parts_of_a_batch_weigh_as_much_as_the_whole(count: int):
    x = np.random.default_rng(0).normal(size=12)
    parts = shares_of(3, count, x, x)
    means = [np.mean(part[0] * (part[2] if len(part) > 2 else 1.0)) for part in parts]
    # what Keras makes of them: each replica's mean, divided by their number, added up
    assert sum(means) / 3 == pytest.approx(np.mean(x[:count]), rel=1e-6)


def test_weights_of_the_script_are_kept_and_batches_that_cannot_be_divided_are_refused():
    parts = shares_of(2, 3, np.ones(4), np.ones(4), np.array([1.0, 2.0, 3.0, 4.0]))
    assert [part[2].numpy().tolist() for part in parts] == [pytest.approx([2 / 3]), pytest.approx([8 / 3, 4.0])]
    with pytest.raises(ConfigurationError, match="choose a multiple of 5"):
        Shares(Replicas(5), rows=12, batch_size=12)
    with pytest.raises(ConfigurationError, match="cannot be divided among the replicas"):
        shares_of(2, 3, np.ones(4))
