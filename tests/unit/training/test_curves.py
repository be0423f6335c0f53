"""Curves of a run's metrics: bounded, spread evenly, the same however often the run was stopped."""

import itertools
import json
import math
import random
from pathlib import Path

from modelyard.contract.wire import RunCurves
from modelyard.training.curves import MOST_POINTS, CurveFile, Curves, encode


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_few_points_are_all_kept():
    curves = Curves()
    for step in range(1, MOST_POINTS + 1):
        curves.add(step, {"loss": 1 / step})
    assert curves.saved()["loss"]["steps"] == list(range(1, MOST_POINTS + 1))


def test_many_points_are_kept_evenly_from_the_first_to_nearly_the_last():
    curves, total = Curves(), 123_457
    for step in range(1, total + 1):
        curves.add(step, {"loss": float(-step)})
    steps = curves.saved()["loss"]["steps"]
    assert MOST_POINTS / 2 < len(steps) <= MOST_POINTS
    [stride] = {after - before for before, after in itertools.pairwise(steps)}
    assert steps[0] == 1
    assert total - steps[-1] < stride <= 2 * total / MOST_POINTS
    assert curves.saved()["loss"]["values"] == [-step for step in steps]


def test_curves_that_are_saved_and_gone_on_with_are_those_of_a_run_never_stopped():
    chance, whole, stopped = random.Random(5), Curves(), Curves()
    for step in range(1, 5 * MOST_POINTS):
        metrics = {"loss": chance.random()} | ({"val_loss": chance.random()} if step % 3 == 0 else {})
        whole.add(step, metrics)
        stopped.add(step, metrics)
        if chance.random() < 0.02:
            stopped = Curves(json.loads(json.dumps(stopped.saved())))
    assert stopped.saved() == whole.saved()


def test_what_was_saved_does_not_change_with_the_training():
    curves = Curves()
    curves.add(1, {"loss": 1.0})
    saved = curves.saved()
    curves.add(2, {"loss": 0.5})
    assert saved["loss"]["steps"] == [1]


def test_a_value_that_is_not_a_number_has_no_point():
    curves = Curves()
    for step, value in enumerate((1.0, math.nan, math.inf, 2.0), 1):
        curves.add(step, {"grade": value})
    document = RunCurves.model_validate_json(encode("r", curves.saved()))
    assert (document.run, document.metrics["grade"].steps, document.metrics["grade"].values) == ("r", [1, 4], [1, 2])


def test_the_file_is_written_at_most_every_few_seconds_and_at_the_end(tmp_path: Path):
    clock, curves, path = Clock(), Curves(), tmp_path / "curves.json"
    file = CurveFile(path, "r", clock)

    def written() -> list[int]:
        return RunCurves.model_validate_json(path.read_bytes()).metrics["loss"].steps

    curves.add(1, {"loss": 1.0})
    file.finish(curves)
    clock.now = 4.9
    curves.add(2, {"loss": 1.0})
    file.tell(curves)
    assert not file.is_busy
    assert written() == [1]
    clock.now = 5.0
    file.tell(curves)
    while file.is_busy:
        pass
    assert written() == [1, 2]
    curves.add(3, {"loss": 1.0})
    file.finish(curves)
    assert written() == [1, 2, 3]


def test_a_disk_without_room_does_not_end_the_training(tmp_path: Path):
    curves = Curves()
    curves.add(1, {"loss": 1.0})
    CurveFile(tmp_path / "gone" / "curves.json", "r").finish(curves)
    assert list(tmp_path.iterdir()) == []
