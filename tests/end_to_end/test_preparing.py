"""Prepare steps on the real cluster: a program and a script, in order, once; and a training that is all command."""

import pytest

from tests.end_to_end.test_bad_input import await_words, resource, training
from tests.end_to_end.test_images import image_of
from tests.support.kubectl import ROOT, Kubectl, is_ready, wait_until

#: What any program can do: the folder to fill is named by a variable.
COUNT = 'folder="/mnt/pvc/${MODELYARD_OUTPUT#pvc://}"; mkdir -p "$folder"; seq "$ROWS" > "$folder/numbers.txt"'
SQUARE = """
import modelyard
run = modelyard.run()
numbers = (run.path("count") / "numbers.txt").read_text().split()
with run.write("squares.csv") as path:
    path.write_text("".join(f"{int(number) ** 2}\\n" for number in numbers))
run.tell(f"{len(numbers)} squares")
"""
TRAIN = """
import keras, numpy as np, modelyard
from modelyard.contract.package import Features, Label, Labels, NumberFeature, Output, OutputKind
run = modelyard.run()
squares = np.loadtxt(run.path("square") / "squares.csv", dtype="float32")
x = (squares / squares.max())[:, None]
inputs = keras.Input((1,), name="x")
model = keras.Model({"x": inputs}, {"y": keras.layers.Dense(1, activation="sigmoid", name="y")(inputs)})
model.compile(loss="binary_crossentropy")
model.fit({"x": x}, {"y": (x > 0.5).astype("float32")}, epochs=1, verbose=0, callbacks=[run.callback()])
labels = Labels(outputs=[Output(name="y", kind=OutputKind.PROBABILITY, labels=[Label(name="y")])])
run.publish(model, features=Features(features=[NumberFeature(name="x")]), labels=labels,
            metrics={"rows": float(len(squares))}, holdout={"x": x[:, 0]}, samples=[{"x": 0.25}])
"""


def steps(rows: int, square: str = "square.py") -> list[dict]:
    output = {"uri": "pvc://models/prepared"}
    count = {"name": "count", "command": ["sh", "-c", COUNT], "env": {"ROWS": str(rows)}, "output": output}
    return [count, {"name": "square", "script": {"configMap": "steps", "file": square}, "output": output}]


def prepared(cluster: Kubectl) -> list[tuple[str, str]]:
    status = cluster.get("modeltraining", "stepped")["status"]
    return [(item["name"], item.get("message", "")) for item in status.get("prepared", [])]


@pytest.fixture(scope="module")
def stepped(cluster: Kubectl) -> Kubectl:
    scripts = {"square.py": SQUARE, "train.py": TRAIN, "wrong.py": "raise KeyError('rows')\n"}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "steps"}, "data": scripts})
    return cluster


def run_with(cluster: Kubectl, **spec: object) -> dict:
    """Apply, wait for the run, return its status."""
    cluster.apply(training("stepped", script={"configMap": "steps"}, **spec))
    wait_until(lambda: is_ready(cluster.get("modeltraining", "stepped")), 150, "the training is ready")
    return cluster.get("modeltraining", "stepped")["status"]


def test_steps_are_done_once_and_a_changed_one_again(stepped: Kubectl):
    status = run_with(stepped, prepare=steps(30))
    assert status["run"]["metrics"] == {"rows": 30.0}
    assert prepared(stepped) == [("count", ""), ("square", "30 squares")]
    first = status["run"]["name"]
    status = run_with(stepped, prepare=steps(30), hyperparameters={"other": 1})
    assert status["run"]["name"] != first
    assert len(prepared(stepped)) == 2
    assert run_with(stepped, prepare=steps(20))["run"]["metrics"] == {"rows": 20.0}
    assert [name for name, _ in prepared(stepped)] == ["count", "square"] * 2
    # back to what was: the folder of those steps is still there, and its run is on record
    assert run_with(stepped, prepare=steps(30))["run"]["metrics"] == {"rows": 30.0}
    assert len(prepared(stepped)) == 4


def test_a_step_that_fails_is_told_with_its_field_and_nothing_is_trained(stepped: Kubectl):
    wrong = steps(20, "wrong.py")
    wrong[1]["backoffLimit"] = 0
    stepped.apply(training("broken", script={"configMap": "steps"}, prepare=wrong))
    await_words(stepped, "broken", "spec.prepare[1] (square): KeyError: 'rows' (wrong.py, line 1)")
    status = stepped.get("modeltraining", "broken")["status"]
    assert status["phase"] == "Failed"
    assert not stepped.list("jobs", "modelyard.dev/training=broken,modelyard.dev/component=training")


def test_a_program_without_the_library_is_trained_gated_and_served(cluster: Kubectl, operator_namespace: Kubectl):
    program = (ROOT / "config/samples/own_program/program.py").read_text()
    # the training image stands in for the program's own: it has TensorFlow too
    spec = {"image": image_of(operator_namespace, "training"), "command": ["python3", "-c", program]}
    gate = {"metrics": [{"name": "loss", "ceiling": 0.001}]}
    output = {"uri": "pvc://models/line"}
    wanted = {**spec, "gate": gate, "hyperparameters": {"slope": 3.0}, "output": output}
    cluster.apply(resource("ModelTraining", "line", wanted))
    cluster.apply(resource("ModelServing", "line", {"model": {"training": "line"}, "replicas": 1}))
    wait_until(lambda: is_ready(cluster.get("modelserving", "line")), 150, "the line is served")
    [answer] = cluster.predict("line", "x=3")["predictions"]
    assert answer == pytest.approx(10.0)
    cluster("delete", "modelserving/line", "--wait=false")
