"""Sketches of what a pod is asked: merged across pods, bounded, and telling what counts over bins can't."""

import base64

import numpy as np
import pytest
from datasketches import kll_doubles_sketch

from modelyard.model.sketches import DistributionCounter, describe_categories, describe_numbers


def test_two_pods_tell_sketches_that_merge_into_one():
    baseline = describe_numbers(np.linspace(0, 1, 1000))
    pods = [DistributionCounter(baseline), DistributionCounter(baseline)]
    pods[0].add(np.linspace(0, 10, 5000))
    pods[1].add(np.linspace(10, 20, 5000))
    merged = kll_doubles_sketch(200)
    for pod in pods:
        told = pod.document(sketches=True)
        assert "sketch" not in pod.document()
        merged.merge(kll_doubles_sketch.deserialize(base64.b64decode(told["sketch"])))
    # all of it lies beyond the baseline's outermost bin, whose count can't tell
    assert merged.get_quantile(0.5) == pytest.approx(10, abs=0.5)
    assert pods[1].document()["quantiles"]["1.0"] == 20.0


def test_frequent_words_are_told_that_the_baseline_did_not_have():
    counter = DistributionCounter(describe_categories(["nl", "de"]))
    for place in range(100):
        counter.add(["be", "nl", "x" * 10_000 + str(place), f"rare-{place}"])
    told = counter.document(sketches=True)
    assert set([*told["frequent"]][:3]) == {"x" * 64, "be", "nl"}
    assert told["other"] == 300
    assert len(told["sketch"]) < 30_000
