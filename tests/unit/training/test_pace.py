"""How fast a run goes, and how long it still takes, by a clock of the test's."""

from pathlib import Path

import pytest

from modelyard.training.pace import Pace
from tests.unit.training.test_looping import Clock, begin, evict, variable

NIGHT = 12 * 3600.0


def test_the_pace_is_that_of_late_and_a_night_is_no_part_of_it():
    pace, now = Pace(), 0.0
    assert pace.rate is None
    for step in range(200):
        now += 1.0
        pace.note(now, step)
    assert pace.rate == pytest.approx(1.0)
    now += NIGHT
    pace.note(now, 200)
    assert pace.rate == pytest.approx(1.0)
    for step in range(201, 6000):
        now += 0.5
        pace.note(now, step)
    assert pace.rate == pytest.approx(2.0, rel=0.05)


def test_steps_that_take_hours_each_are_no_pauses():
    pace = Pace()
    for step in range(5):
        pace.note(step * 7200.0, step)
    assert pace.rate == pytest.approx(1 / 7200)


def test_a_run_suspended_overnight_ends_as_an_undisturbed_one_and_its_remaining_time_stays_sane(tmp_path: Path):
    def train(name: str, nights: dict[int, str]) -> tuple[float, list[float]]:
        """Train 60 steps of a second. A night comes by suspension (another pod), or the machine sleeps in a step."""
        clock, told = Clock(), []
        while True:
            run, weights = begin(tmp_path, name, clock, checkpointing={"everySeconds": 10}), variable()
            run.track(weights=weights)
            try:
                for step, number in run.steps(list(range(20)), epochs=3):
                    clock.now += 1.0
                    weights.assign(weights * 0.9 + number)
                    night = nights.pop(step, "")
                    if night == "suspended":
                        evict()
                    elif night:
                        clock.now += NIGHT
                    run.step(loss=float(weights[0]))
                    if (eta := run.progress.progress.eta_seconds) is not None:
                        told.append(eta)
            except SystemExit:
                clock.now += NIGHT
                continue
            return float(weights[0]), told

    expected, _ = train("whole", {})
    broken, told = train("broken", {25: "suspended", 45: "asleep"})
    assert broken == expected
    assert len(told) > 50
    assert max(told) < 60
