"""Data by name: files, streams and batches of every format, in the same order whenever and wherever they are read."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from modelyard.contract.package import CategoryFeature, Features, ImageFeature, NumberFeature
from modelyard.model.features import Encoder
from modelyard.training.errors import ConfigurationError, DataChangedError, raised_within
from modelyard.training.running import Run
from tests.support.runs import claim, cluster_run

ROWS = 50


def run_of(folder: Path, uri: str = "pvc://data/rows") -> Run:
    return cluster_run(folder, data=[{"name": "rows", "uri": uri}], seed=3)


def table(start: int = 0) -> pa.Table:
    number = np.arange(start, start + ROWS)
    columns = {"number": number, "half": number / 2, "word": [f"w{n % 3}" for n in number], "odd": number % 2}
    return pa.table(columns)


def write_parquet(folder: Path) -> None:
    folder.mkdir()
    for part in range(3):
        parquet.write_table(table(part * ROWS), folder / f"part-{part}.parquet", row_group_size=20)
    (folder / "_SUCCESS").touch()


def write_csv(folder: Path) -> None:
    import pyarrow.csv

    folder.mkdir()
    for part in range(3):
        pyarrow.csv.write_csv(table(part * ROWS), folder / f"part-{part}.csv")


def write_npz(folder: Path) -> None:
    folder.mkdir()
    for part in range(3):
        arrays = {name: column.to_numpy(zero_copy_only=False) for name, column in zip(*_columns(part), strict=True)}
        np.savez(folder / f"part-{part}.npz", **arrays | {"word": arrays["word"].astype(str)})


def _columns(part: int) -> tuple[list[str], list[pa.ChunkedArray]]:
    rows = table(part * ROWS)
    return rows.column_names, [column.combine_chunks() for column in rows.columns]


WRITERS = {"parquet": write_parquet, "csv": write_csv, "npz": write_npz}


def numbers(dataset: Any) -> list[int]:
    found: list[int] = []
    for x, y in dataset:
        assert (x["number"].numpy() % 2 == y.numpy()).all()
        np.testing.assert_array_equal(x["half"].numpy(), x["number"].numpy() / 2)
        assert [word.decode() for word in x["word"].numpy()] == [f"w{n % 3}" for n in x["number"].numpy()]
        found += x["number"].numpy().tolist()
    return found


@pytest.mark.parametrize("kind", WRITERS)
def test_rows_of_many_files_are_batches_that_begin_anywhere(tmp_path: Path, kind: str):
    WRITERS[kind](claim(tmp_path) / "rows")
    run = run_of(tmp_path)
    dataset = run.data("rows").dataset(label="odd", batch_size=8, window=30)
    batches = run.current
    assert batches.steps == -(-3 * ROWS // 8) == dataset.cardinality()
    first = numbers(dataset)
    assert sorted(first) == list(range(3 * ROWS)) != first
    batches.begin_epoch(1)
    second = numbers(dataset)
    assert sorted(second) == sorted(first) != second != first
    for place in (1, 7, batches.steps - 1):
        batches.begin_epoch(1, place)
        assert numbers(dataset) == second[8 * place :]
    again = run_of(tmp_path).data("rows").dataset(label="odd", batch_size=8, window=30)
    assert numbers(again) == first
    plain = run.data("rows").dataset(label="odd", batch_size=8, shuffle=False)
    assert numbers(plain) == list(range(3 * ROWS))
    assert run.current is batches


def test_an_encoder_makes_the_inputs_that_a_server_makes(tmp_path: Path):
    write_parquet(claim(tmp_path) / "rows")
    features = [NumberFeature(name="half", mean=1.0), CategoryFeature(name="word", vocabulary=["w0", "w1"])]
    features.append(CategoryFeature(name="country", vocabulary=["nl"], default="nl"))
    encoder = Encoder(Features(features=features))
    dataset = (
        run_of(tmp_path)
        .data("rows")
        .dataset(encoder=encoder, label={"is_odd": "odd"}, types={"odd": "float32"}, shuffle=False, batch_size=4)
    )
    x, y = next(iter(dataset))
    assert {name: value.numpy().tolist() for name, value in x.items()} == {
        "half": [-1.0, -0.5, 0.0, 0.5],
        "word": [1, 2, 0, 1],
        "country": [1, 1, 1, 1],
    }
    assert (y["is_odd"].dtype.name, y["is_odd"].numpy().tolist()) == ("float32", [0, 1, 0, 1])


def test_empty_values_lists_and_dates(tmp_path: Path):
    rows = {
        "age": pa.array([1, None, 3], "int64"),
        "pixels": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32())),
        "day": pa.array([0, 1, None], pa.date32()),
        "uneven": [[1], [1, 2], []],
    }
    parquet.write_table(pa.table(rows), claim(tmp_path) / "rows.parquet")
    data = run_of(tmp_path, "pvc://data/rows.parquet").data("rows")
    with pytest.raises(ConfigurationError, match=r"spec.data\[rows\].*column age .* has empty values: types="):
        data.dataset(columns=["age"])
    with pytest.raises(ConfigurationError, match="uneven holds lists of different lengths"):
        data.dataset(columns=["uneven"])
    with pytest.raises(ConfigurationError, match="no column agee; there are: age, pixels"):
        data.dataset(columns=["agee"])
    x = next(iter(data.dataset(columns=["age", "pixels", "day"], types={"age": "float32"}, shuffle=False)))
    np.testing.assert_array_equal(x["age"].numpy(), np.array([1, np.nan, 3], "float32"))
    assert x["pixels"].numpy().tolist() == rows["pixels"].to_pylist()
    assert x["day"].numpy().tolist() == [b"1970-01-01", b"1970-01-02", b""]


def test_a_csv_value_that_does_not_fit_is_told_with_its_column(tmp_path: Path):
    path = claim(tmp_path) / "rows.csv"
    path.write_text("a,b\n" + "1,2\n" * 3 + "1,x\n")
    data = run_of(tmp_path, "pvc://data/rows.csv").data("rows")
    assert next(iter(data.dataset(columns=["b"], shuffle=False)))["b"].numpy().tolist() == [b"2", b"2", b"2", b"x"]
    with pytest.raises(ConfigurationError, match=r"rows.csv: In CSV column #1.*invalid value 'x'"):
        data.dataset(types={"b": "int64"})
    with pytest.raises(ConfigurationError, match="there are float32"):
        data.dataset(types={"b": "number"})


def test_files_that_hold_something_else_are_refused_by_their_source(tmp_path: Path):
    parquet.write_table(pa.table({"word": ["a", "b"]}), claim(tmp_path) / "words.parquet")
    (claim(tmp_path) / "text.parquet").write_text("a,b")
    np.savez(claim(tmp_path) / "objects.npz", x=np.array([{}], dtype=object))
    (claim(tmp_path) / "empty.tfrecord").touch()
    names = ("words.parquet", "text.parquet", "objects.npz", "empty.tfrecord")
    run = cluster_run(tmp_path, data=[{"name": n.split(".")[0], "uri": f"pvc://data/{n}"} for n in names])
    with pytest.raises(ConfigurationError, match="column word does not fit types="):
        run.data("words").dataset(types={"word": "int64"})
    with pytest.raises(ConfigurationError, match=r"spec.data\[text\].*text.parquet is no Parquet file"):
        run.data("text").dataset()
    with pytest.raises(ConfigurationError, match=r"objects.npz: x holds Python objects"):
        run.data("objects").dataset()
    with pytest.raises(ConfigurationError, match="there are no records"):
        run.data("empty").records({})


def test_records_are_counted_and_begin_at_any_batch(tmp_path: Path):
    import keras
    import tensorflow as tf

    # as a run with the default seed does
    keras.utils.set_random_seed(0)
    folder = claim(tmp_path) / "rows"
    folder.mkdir()
    for part in range(2):
        with tf.io.TFRecordWriter(str(folder / f"{part}.tfrecord")) as writer:
            for n in range(part * 10, part * 10 + 10):
                feature = {
                    "x": tf.train.Feature(float_list=tf.train.FloatList(value=[n, n + 0.5])),
                    "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[n])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
    run = run_of(tmp_path)
    known = {"x": tf.io.FixedLenFeature([2], tf.float32), "y": tf.io.FixedLenFeature([], tf.int64)}
    dataset = run.data("rows").records(known, label="y", batch_size=4)

    def read() -> list[int]:
        for x, y in dataset:
            assert (x["x"].numpy()[:, 0] == y.numpy()).all()
        return [n for _, y in dataset for n in y.numpy().tolist()]

    first = read()
    run.current.begin_epoch(1)
    second = read()
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    run.current.begin_epoch(1, 3)
    assert read() == second[12:]
    assert run.current.steps == 5
    with (folder / "0.tfrecord").open("ab") as file:
        file.write(b"")
    (folder / "2.tfrecord").touch()
    with pytest.raises(tf.errors.OpError) as raised:
        read()
    assert str(raised_within(raised.value)).endswith("(annotation modelyard.dev/retrain)")


def test_pictures_in_folders_are_read_as_a_server_reads_them(tmp_path: Path):
    from PIL import Image

    for name, grey in (("cat", 0), ("dog", 255), ("dog", 128)):
        folder = claim(tmp_path) / "rows" / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 7), grey).save(folder / f"{grey}.png")
    data = run_of(tmp_path).data("rows")
    assert data.classes == ["cat", "dog"]
    x, y = next(iter(data.images((4, 6), channels=1, shuffle=False)))
    assert x.shape == (3, 4, 6, 1)
    assert (x.numpy()[:, 0, 0, 0].tolist(), y.numpy().tolist()) == ([0, 128, 255], [0, 1, 1])
    picture = Encoder(Features(features=[ImageFeature(name="photo", height=2, width=2, scale=1 / 255)]))
    x, y = next(iter(data.images(encoder=picture, label="animal", shuffle=False)))
    assert (x["photo"].shape, y["animal"].numpy().tolist()) == ((3, 2, 2, 3), [0, 1, 1])
    with pytest.raises(ConfigurationError, match="size"):
        data.images()


def test_rows_that_change_while_they_are_read_end_the_run_with_the_file(tmp_path: Path):
    import tensorflow as tf

    write_parquet(claim(tmp_path) / "rows")
    run = run_of(tmp_path)
    dataset = run.data("rows").dataset(label="odd")
    parquet.write_table(table(1000), claim(tmp_path) / "rows" / "part-1.parquet", row_group_size=20)
    with pytest.raises(tf.errors.OpError) as raised:
        numbers(dataset)
    error = raised_within(raised.value)
    assert isinstance(error, DataChangedError)
    assert "spec.data[rows] (pvc://data/rows): rows/part-1.parquet changed while it was read" in str(error)
    with pytest.raises(DataChangedError, match=r"part-1.parquet changed since this run began"):
        run_of(tmp_path).data("rows").paths()
    with pytest.raises(DataChangedError, match=r"part-1.parquet changed while it was read"):
        run.publish(None, features=None, labels=None, metrics={}, holdout={})


def test_a_run_stopped_within_an_epoch_goes_on_at_the_very_row(tmp_path: Path):
    write_parquet(claim(tmp_path) / "rows")

    def train(run: Run, stop_after: int | None = None) -> tuple[list[dict[str, float]], list[Any]]:
        import keras

        class Stop(keras.callbacks.Callback):  # type: ignore[misc]
            steps = 0

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                self.steps += 1
                if self.steps == stop_after:
                    os.kill(os.getpid(), signal.SIGTERM)

        keras.utils.set_random_seed(1)
        x = keras.Input((), name="half")
        model = keras.Model({"half": x}, keras.layers.Dense(1, "sigmoid")(keras.layers.Reshape((1,))(x)))
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        rows, callback = run.data("rows"), run.callback()
        given = {"label": "odd", "columns": ["half"], "types": {"odd": "float32"}, "batch_size": 16}
        model.fit(
            rows.dataset(**given, window=40),
            validation_data=rows.dataset(**given, shuffle=False),
            epochs=3,
            initial_epoch=run.initial_epoch,
            callbacks=[Stop(), callback],
            verbose=0,
        )
        return callback.history, model.get_weights()

    source = {"data": [{"name": "rows", "uri": "pvc://data/rows"}]}
    history, weights = train(cluster_run(tmp_path, run="whole", **source))
    for after in (13, 2):
        with pytest.raises(SystemExit):
            train(cluster_run(tmp_path, **source), after)
    last = cluster_run(tmp_path, **source)
    assert (last.resumed.position.epoch, last.resumed.position.batch) == (1, 5)
    again, resumed = train(last)
    assert again == history
    for one, other in zip(resumed, weights, strict=True):
        np.testing.assert_array_equal(one, other)
