"""`python -m modelyard.training check`: what the cluster would refuse, each with its place and the fix."""

import json
from pathlib import Path

import pytest
import yaml

from modelyard.contract.meta import API_VERSION
from modelyard.contract.rules import EXAMPLES, RULES
from modelyard.training.__main__ import main
from modelyard.training.checking import Finding, check
from tests.support.kubectl import ROOT
from tests.support.objects import merge

SCRIPT = """\
import modelyard
run = modelyard.run()
rows = run.data("rows").dataset(label="y")
epochs = run.hyperparameter("epochs", 3)
run.publish(None, metrics={"auc": 1.0})
"""
MANIFEST = f"""\
apiVersion: {API_VERSION}
kind: ModelTraining
metadata:
  name: t
spec:
  script: {{configMap: t}}
  output: {{uri: pvc://models/t}}
  hyperparameters:
    epochs: 5
  data:
    - {{name: rows, uri: s3://b/rows}}
  gate:
    metrics:
      - {{name: auc, floor: 0.5}}
"""


def found(folder: Path, script: str = SCRIPT, manifest: str | None = MANIFEST) -> list[Finding]:
    (folder / "train.py").write_text(script)
    if manifest is None:
        return check(folder / "train.py")
    (folder / "training.yaml").write_text(manifest)
    return check(folder / "train.py", folder / "training.yaml")


@pytest.mark.parametrize("script", ["digits/train.py", "flights/train.py", "flights/prepare.py"])
def test_nothing_is_found_in_the_samples(script: str):
    path = ROOT / "config/samples" / script
    assert check(path, path.with_name("training.yaml")) == []


def test_the_script_of_a_prepare_step_is_held_against_its_step(tmp_path: Path):
    script = "import modelyard\n\nrun = modelyard.run()\nrun.path('raw')\nrun.path('rows')\n"
    step = {"name": "clean", "script": {"configMap": "x", "file": "clean.py"}, "output": {"uri": "pvc://models/clean"}}
    document = yaml.safe_load(MANIFEST)
    document["spec"]["prepare"] = [{**step, "inputs": [{"name": "raw", "uri": "s3://bucket/raw.csv"}]}]
    (tmp_path / "clean.py").write_text(script)
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(document))
    [finding] = check(tmp_path / "clean.py", tmp_path / "training.yaml")
    assert (finding.line, finding.what) == (5, "spec.prepare[clean].inputs has no rows; there are: raw")


def test_nothing_is_found_in_a_script_that_fits_its_manifest(tmp_path: Path):
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ("x = (", 6, "SyntaxError"),
        ("def f[T](x: T) -> T: ...", 6, "SyntaxError"),
        ("import torch", 6, "torch is not in the training image"),
        ("from beside import x", 6, "beside lies beside the script"),
        ("open('/home/me/rows.csv')", 6, "'/home/me/rows.csv' is a path of this machine"),
        ("open('rows.csv')", 6, "'rows.csv' is read: in the cluster it is not there"),
        ("pd.read_csv('data/rows.csv')", 6, "is read"),
        ("input('go on?')", 6, "input() asks somebody"),
        ("run.path('lines')", 6, "spec.data has no lines; there are: rows"),
        ("run.hyperparameters['rate']", 6, "spec.hyperparameters has no rate"),
    ],
)
def test_a_mistake_in_the_script_is_told_with_its_line(tmp_path: Path, lines: str, line: int, words: str):
    (tmp_path / "beside.py").touch()
    [finding] = found(tmp_path, SCRIPT + lines)
    assert (finding.file, finding.line, finding.refused) == (str(tmp_path / "train.py"), line, True)
    assert words in finding.what
    assert finding.fix


@pytest.mark.parametrize(
    "lines",
    [
        "try:\n    import torch\nexcept ImportError:\n    torch = None",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
        "'''Reads /home/me/rows.csv.'''",
        "open('/tmp/rows.csv', 'w')",
        "import sklearn, PIL, pyarrow, keras",
    ],
)
def test_what_the_cluster_takes_is_not_found(tmp_path: Path, lines: str):
    assert found(tmp_path, SCRIPT + lines) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("kind: ModelTraining", "kind: [", 4, "this is no YAML"),
        ("kind: ModelTraining", "kind: Job", 1, "there is no ModelTraining in it"),
        (API_VERSION, "modelyard.dev/v1", 1, "apiVersion is 'modelyard.dev/v1'"),
        ("configMap: t", "configmap: t", 6, "spec.script.configMap: Field required"),
        ("epochs: 5", "epochs: five", 9, "spec.hyperparameters.epochs is 'five'"),
        ("pvc://models/t", "pvc://models", 7, "spec.output.uri (pvc://models) breaks a rule"),
        ("pvc://models/t", "https://example.org/t", 7, "breaks a rule"),
        ("pvc://models/t", "./models", 7, "spec.output.uri: String should match pattern"),
        ("floor: 0.5", "floor: 0.5, ceiling: 0.1", 14, "spec.gate.metrics[0] breaks a rule"),
        ("floor: 0.5", "floor: '0.5'", 14, "spec.gate.metrics[0].floor: Input should be a valid number"),
        ("name: auc", "name: loss", 14, "spec.gate.metrics[loss] is not what"),
        ("configMap: t", "configMap: t, file: other.py", 6, "spec.script.file is other.py, this script is train.py"),
        ("  name: t", "  name: 9lives", 4, "metadata.name breaks a rule"),
    ],
)
def test_a_mistake_in_the_manifest_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str):
    findings = [finding for finding in found(tmp_path, manifest=MANIFEST.replace(old, new)) if finding.refused]
    assert any(words in finding.what and finding.line == line for finding in findings), findings


def test_what_is_told_but_never_read_is_a_note(tmp_path: Path):
    manifest = MANIFEST.replace("epochs: 5", "epochs: 5\n    rate: 1").replace(
        "  data:\n", "  data:\n    - {name: more, uri: s3://b/more}\n"
    )
    assert [(f.line, f.refused, f.what) for f in found(tmp_path, manifest=manifest)] == [
        (10, False, "spec.hyperparameters.rate is never read"),
        (12, False, "spec.data[more] is never read"),
    ]
    assert found(tmp_path, SCRIPT + "f(**run.hyperparameters)", manifest)[0].what == "spec.data[more] is never read"


def test_hyperparameters_of_a_class_are_all_that_there_are(tmp_path: Path):
    script = SCRIPT.replace(
        'epochs = run.hyperparameter("epochs", 3)',
        "class P:\n    epochs: int = 3\n    rate: float\np = run.hyperparameters_as(P)",
    )
    findings = found(tmp_path, script, MANIFEST.replace("epochs: 5", "epoch: 5"))
    assert {(f.what, f.refused) for f in findings} == {
        ("spec.hyperparameters.epoch is never read", True),
        ("spec.hyperparameters has no rate", True),
    }


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ("dict(auc=1.0)", None),
        ("{'auc': 1.0} | {'loss': 2.0}", None),
        ("found", None),
        ("measure()", None),
        ("{**measure(), 'x': 1}", None),
        ("{'loss': 1.0}", "publish(metrics=...) gives loss"),
        ("other()", "publish(metrics=...) gives loss"),
        ("elsewhere.measure()", "see that"),
    ],
)
def test_gated_metrics_are_followed_through_the_script(tmp_path: Path, metrics: str, words: str | None):
    helpers = (
        "def measure():\n    found = {'auc': 1}\n    return found\n"
        "def other():\n    return {'loss': 1}\nfound = {}\nfound['auc'] = 1\n"
    )
    script = SCRIPT.replace("run.publish", f"{helpers}run.publish").replace('{"auc": 1.0}', metrics)
    findings = found(tmp_path, script)
    assert [words in finding.fix for finding in findings] == ([] if words is None else [True])


def test_a_script_that_never_begins_or_publishes(tmp_path: Path):
    assert "never called" in found(tmp_path, "print(1)", None)[0].what
    assert "nothing is published" in found(tmp_path, "import modelyard\nr = modelyard.run()", None)[0].what
    assert found(tmp_path, SCRIPT + "import torch", MANIFEST + "  image: registry/own:1\n") == []


def test_the_rules_say_here_what_they_say_in_the_api_server(tmp_path: Path):
    for rule in RULES:
        if rule.kind != "ModelTraining":
            continue
        for patches, is_refused in ((rule.accepted, False), (rule.refused, True)):
            for patch in patches:
                document = merge({"apiVersion": API_VERSION, "kind": rule.kind, **EXAMPLES[rule.kind]}, patch)
                findings = found(tmp_path, manifest=json.dumps(document))
                assert any(finding.fix == rule.message for finding in findings) == is_refused, (patch, findings)


def test_the_command_says_how_many_and_fails_when_something_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out == "nothing found\n"
    path.write_text(SCRIPT + "import torch\n")
    assert main(["check", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{path}:6: error: torch is not in the training image: build an image")
    assert lines[1] == "1 errors, 0 notes"
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / "missing.py")])
