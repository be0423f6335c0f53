"""Answers: names for columns, the hierarchy of tags, the best ones first."""

import numpy as np

from modelyard.contract.package import Label, Labels, Output, OutputKind
from modelyard.model.labels import Answerer


def test_a_parent_never_scores_below_what_implies_it():
    labels = [Label(name="animal"), Label(name="dog", parents=["animal"]), Label(name="car")]
    answerer = Answerer(Labels(outputs=[Output(name="tags", kind=OutputKind.TAGS, labels=labels)]))
    finished = answerer.finish({"tags": np.array([[0.1, 0.75, 0.5]], "float32")})
    assert answerer.rows(finished) == [{"animal": 0.75, "dog": 0.75, "car": 0.5}]


def test_only_the_best_labels_are_named_and_equal_ones_in_their_order():
    labels = [Label(name=name) for name in "abcd"]
    answerer = Answerer(Labels(outputs=[Output(name="items", kind=OutputKind.TAGS, labels=labels, top=3)]))
    finished = answerer.finish({"items": np.array([[0.25, 0.5, 0.125, 0.5], [1, 0, 0, 0]], "float32")})
    assert [list(row.items()) for row in answerer.rows(finished)] == [
        [("b", 0.5), ("d", 0.5), ("a", 0.25)],
        [("a", 1.0), ("b", 0.0), ("c", 0.0)],
    ]
    assert finished["items"].shape == (2, 4)
