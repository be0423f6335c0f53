"""What a package's documents accept and refuse."""

import pytest
from pydantic import ValidationError

from modelyard.contract.package import Features, FileEntry, Labels


def labels(**parents: list[str]) -> dict:
    listed = [{"name": name, "parents": list(above)} for name, above in parents.items()]
    return {"outputs": [{"name": "tags", "kind": "tags", "labels": listed}]}


def test_a_hierarchy_of_labels_is_accepted():
    parsed = Labels.model_validate(labels(animal=[], cat=["animal"], tabby=["cat", "animal"]))
    assert parsed.outputs[0].labels[2].parents == ["cat", "animal"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (labels(cat=["animal"]), "unknown parents animal"),
        (labels(a=["b"], b=["a"]), "the parents of a, b form a cycle"),
        (labels(a=["a"]), "the parents of a form a cycle"),
        (labels(), "tags need labels"),
    ],
)
def test_an_unsound_hierarchy_is_refused_with_the_reason(document, reason):
    with pytest.raises(ValidationError, match=reason):
        Labels.model_validate(document)


def test_two_features_of_one_name_are_refused():
    twice = [{"type": "number", "name": "price"}, {"type": "boolean", "name": "price"}]
    with pytest.raises(ValidationError, match="price are used more than once"):
        Features.model_validate({"features": twice})


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a//b", "a/../b", ".hidden", "a\\b", "a/", ""])
def test_a_path_that_could_leave_the_package_is_refused(path):
    with pytest.raises(ValidationError):
        FileEntry(path=path, size=1, sha256="0" * 64)


@pytest.mark.parametrize("path", ["model.tflite", "saved_model/variables/variables.data-00000-of-00001"])
def test_ordinary_paths_are_accepted(path):
    assert FileEntry(path=path, size=1, sha256="0" * 64).path == path
