"""Models that LiteRT cannot hold: published, checked before they are loaded, and answered through TensorFlow."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import modelyard
from modelyard.contract.meta import ModelRuntime
from modelyard.contract.package import CategoryFeature, Features, Labels, Output, OutputKind
from modelyard.contract.wire import Published
from modelyard.model.opening import PackageRefused
from modelyard.model.publishing import PublishError, publish
from modelyard.model.runtime import RuntimeProblem
from modelyard.model.runtime.checking import check_saved_model
from modelyard.model.runtime.tensorflow import TensorFlow
from tests.support.packages import NOW, publication, store
from tests.support.server import Server

FEATURES = Features(features=[CategoryFeature(name="country", vocabulary=["nl", "de", "fr"], default="nl")])
LABELS = Labels(outputs=[Output(name="price", kind=OutputKind.REGRESSION)])


class Tables(tf.Module):
    """A table of strings, as LiteRT has none."""

    def __init__(self) -> None:
        names, prices = tf.constant(["1", "2", "3"]), tf.constant([10.0, 20.0, 30.0])
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, prices), -1.0)
        self.factor = tf.Variable(2.0)

    def __call__(self, country: Any) -> Any:
        return self.table.lookup(tf.strings.as_string(country)) * self.factor


def described(**changes: Any) -> Any:
    fields = {"features": FEATURES, "labels": LABELS, "holdout": {"country": ["nl", "de", "xx"] * 10}}
    return publication(**{**fields, "samples": [{"country": "de"}], **changes})


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(Tables(), described(), store(tmp_path_factory.mktemp("tables")), lambda: NOW)


def test_a_model_that_litert_cannot_hold_is_served_as_a_saved_model(tables: Published):
    assert tables.runtime is ModelRuntime.TENSORFLOW
    model = modelyard.open(tables.uri, digest=tables.digest)
    litert, saved = model.manifest.variants
    assert (litert.name, litert.serve) == ("float32", False)
    assert litert.reason.startswith("LiteRT cannot hold it: it keeps 1 tables")
    assert (saved.name, saved.runtime, saved.serve, saved.loss) == ("saved-model", "tensorflow", True, 0.0)
    assert min(saved.seconds or 0, saved.batch_seconds or 0) > 0
    assert model.platform == "tensorflow_savedmodel"
    model.verify_samples()
    assert model.predict({}) == 20.0
    assert model.predict_many([{"country": name} for name in ("nl", "de", "fr", "xx")]) == [20.0, 40.0, 60.0, -2.0]


def test_a_server_answers_from_it_through_tensorflow(tables: Published, tmp_path: Path):
    server = Server(tmp_path, tables.uri, tables.digest).await_ready()
    try:
        assert server.ask("/v1/models/clicks:predict?country=fr")[1] == {"predictions": [60.0]}
        rows = {"instances": [{"country": name} for name in ("nl", "xx")]}
        assert server.ask("/v1/models/clicks:predict", rows)[1] == {"predictions": [20.0, -2.0]}
        assert server.ask("/v2/models/clicks")[1]["platform"] == "tensorflow_savedmodel"
    finally:
        assert server.end() == 0


def test_without_tensorflow_it_is_told_what_to_install(tables: Published, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PackageRefused, match=r"pip install modelyard\[tensorflow\]; in a cluster, `runtime: TensorF"):
        modelyard.open(tables.uri)


def test_the_operations_that_litert_lacks_are_named(tmp_path: Path):
    class Bessel(tf.Module):
        def __call__(self, country: Any) -> Any:
            return tf.math.bessel_i0(tf.cast(country, tf.float32))

    published = publish(Bessel(), described(), store(tmp_path), lambda: NOW)
    assert modelyard.open(published.uri).manifest.variants[0].reason == "LiteRT cannot execute the operations BesselI0"


def test_a_model_that_neither_may_hold_is_not_published(tmp_path: Path):
    def reads(country: Any) -> Any:
        return tf.strings.to_number(tf.io.read_file(tf.strings.as_string(country[0])))[None]

    class Reads(tf.Module):
        def __call__(self, country: Any) -> Any:
            return tf.cast(country, tf.float32) if tf.executing_eagerly() else reads(country)

    with pytest.raises(PublishError, match=r"float32: LiteRT cannot .*; saved-model: .* not allowed: ReadFile"):
        publish(Reads(), described(), store(tmp_path), lambda: NOW)
    assert store(tmp_path).list("runs") == []


def saved(folder: Path, call: Callable[[Any], Any], module: tf.Module | None = None) -> Path:
    function = tf.function(call).get_concrete_function(x=tf.TensorSpec([None], tf.float32, name="x"))
    tf.saved_model.save(module or tf.Module(), str(folder), signatures={"serving_default": function})
    return folder


def changed(folder: Path, change: Callable[[Any], None]) -> Path:
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    change(model.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


def in_a_loop(x: Any) -> Any:
    def body(place: Any, x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file("/tmp/evil", "it")]):
            return place + 1, tf.identity(x)

    return tf.while_loop(lambda place, _: place < 2, body, [0, x])[1]


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        (lambda x: x + tf.strings.to_number(tf.io.read_file("/etc/hostname")), "ReadFile"),
        (lambda x: x + tf.cast(tf.size(tf.io.matching_files("/*")), tf.float32), "MatchingFiles"),
        (lambda x: tf.numpy_function(lambda value: value, [x], tf.float32), "PyFunc"),
        (lambda x: tf.py_function(lambda value: value, [x], tf.float32), "EagerPyFunc"),
        (in_a_loop, "WriteFile"),
        (lambda x: x + tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name="/etc/passwd"), "Imm"),
        (
            lambda x: (
                x + tf.raw_ops.RestoreV2(prefix="/x", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])[0]
            ),
            "Res",
        ),
    ],
)
def test_a_model_that_reaches_out_is_refused_before_it_is_loaded(tmp_path: Path, call: Any, operation: str):
    with pytest.raises(RuntimeProblem, match=f"not allowed: .*{operation}"):
        TensorFlow.read(saved(tmp_path, call))


def test_functions_that_save_are_no_hiding_place(tmp_path: Path):
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    folder = saved(tmp_path, lambda x: x * module.weight, module)
    check_saved_model(folder)

    def call_the_saver(graph: Any) -> None:
        [name] = [
            one.signature.name for one in graph.graph_def.library.function if "traced_restore" in one.signature.name
        ]
        [serve] = [one for one in graph.graph_def.library.function if "signature_wrapper" in one.signature.name]
        serve.node_def[0].attr["f"].func.name = name

    with pytest.raises(RuntimeProblem, match=r"not allowed: .*RestoreV2"):
        check_saved_model(changed(folder, call_the_saver))


def test_a_function_named_as_an_operation_is_refused(tmp_path: Path):
    def rename(graph: Any) -> None:
        graph.graph_def.library.function[0].signature.name = "ReadFile"

    with pytest.raises(RuntimeProblem, match="names of operations: ReadFile"):
        check_saved_model(changed(saved(tmp_path, lambda x: x), rename))


def test_tables_from_files_and_strange_objects_are_refused(tmp_path: Path):
    (tmp_path / "words.txt").write_text("a\nb\n")
    module = tf.Module()
    line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    words = tf.lookup.TextFileInitializer(str(tmp_path / "words.txt"), tf.string, line, tf.int64, number)
    module.table = tf.lookup.StaticHashTable(words, -1)
    folder = saved(
        tmp_path / "asset", lambda x: x + tf.cast(module.table.lookup(tf.strings.as_string(x)), x.dtype), module
    )
    with pytest.raises(RuntimeProblem, match=r"assets/words\.txt"):
        check_saved_model(folder)
    (folder / "assets/words.txt").unlink()
    with pytest.raises(RuntimeProblem, match=r"asset files words\.txt"):
        check_saved_model(folder)

    def forget(graph: Any) -> None:
        del graph.asset_file_def[:]

    with pytest.raises(RuntimeProblem, match="may not be restored: asset"):
        check_saved_model(changed(folder, forget))

    def revive(graph: Any) -> None:
        graph.object_graph_def.nodes[0].user_object.identifier = "optimizer"

    with pytest.raises(RuntimeProblem, match="may not be restored: optimizer"):
        check_saved_model(changed(saved(tmp_path / "plain", lambda x: x), revive))


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt", "assets.extra/run.py", "variables/evil"])
def test_files_that_the_loader_would_take_instead_are_refused(tmp_path: Path, name: str):
    folder = saved(tmp_path, lambda x: x)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    with pytest.raises(RuntimeProblem, match=name):
        check_saved_model(folder)


def test_what_is_no_saved_model_is_refused(tmp_path: Path):
    with pytest.raises(RuntimeProblem, match="damaged"):
        check_saved_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(RuntimeProblem, match="damaged"):
        check_saved_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(saved_model_pb2.SavedModel().SerializeToString())
    with pytest.raises(RuntimeProblem, match="TensorFlow 1"):
        check_saved_model(tmp_path)
    folder = changed(saved(tmp_path / "no", lambda x: x), lambda graph: graph.object_graph_def.nodes.pop())
    with pytest.raises(RuntimeProblem):
        TensorFlow.read(folder)


def test_batches_are_cut_and_single_rows_answer_the_same(tmp_path: Path):
    runtime = TensorFlow.read(saved(tmp_path, lambda x: {"y": x * 2}))
    runtime.largest_batch = 4
    values = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(runtime.predict({"x": values})["y"], values * 2)
    row = runtime.fork().rows(["other", "x"])
    assert [row([None, value])["y"].tolist() for value in (1.0, 2.5)] == [[2.0], [5.0]]
