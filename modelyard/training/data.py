"""Data that a script reads by name: as a file, a stream, or batches for `fit`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from modelyard.model.features import Encoder, FeatureError
from modelyard.training.errors import ConfigurationError, remember
from modelyard.training.rows import ColumnProblem, Label, Rows, read_npz
from modelyard.training.sources import Source

if TYPE_CHECKING:
    import tensorflow as tf

    from modelyard.training.batches import Resumable

__all__ = ["Data", "DataHost"]

#: Rows, and records, that are shuffled together: the latter may be large.
WINDOW = 1 << 17
RECORDS = 10_000
_FORMATS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".csv.bz2": "csv",
    ".csv.zst": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".npz": "npz",
}


class DataHost(Protocol):
    """What data needs of its run."""

    seed: int

    def train_on(self, batches: Resumable, *, shuffled: bool) -> tf.data.Dataset:
        """Take note of batches, so that a resumed run goes on at the very one."""


class Data:
    """One entry of `spec.data`; `str(data)` is its URI, and whatever takes a path takes it as its local file."""

    def __init__(self, source: Source, host: DataHost) -> None:
        self._source = source
        self._host = host

    @property
    def name(self) -> str:
        """What the script calls it."""
        return self._source.name

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self._source.uri

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f"Data({self.name!r}, {self.uri!r})"

    def __fspath__(self) -> str:
        return str(self.path())

    def path(self) -> Path:
        """Return the file or folder on this machine; what lies elsewhere is downloaded once. Raise StorageError."""
        return self._source.path()

    def paths(self) -> list[Path]:
        """Return every file of the folder or pattern on this machine, sorted; raise StorageError."""
        return self._source.paths()

    def verify(self) -> None:
        """Raise DataChangedError if it is read where it lies and is not what it was at first; raise StorageError."""
        self._source.verify()

    def open(self) -> BinaryIO:
        """Return the file as a stream of bytes, read where it lies; raise StorageError.

        Raises ConfigurationError if it is not one file, and DataChangedError at the end if it changed meanwhile.
        """
        from modelyard.training.streams import Watched

        file = self._source.place.file
        if file is None:
            raise ConfigurationError(f"{self._source} is no single file: use paths() or a dataset")
        return cast(BinaryIO, io.BufferedReader(Watched(self._source, file)))

    def dataset(
        self,
        *,
        label: Label = None,
        columns: Sequence[str] | None = None,
        encoder: Encoder | None = None,
        types: Mapping[str, str] | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        window: int = WINDOW,
        format: str | None = None,
    ) -> tf.data.Dataset:
        """Return the rows of CSV, Parquet or NPZ files as batches of `x` or, with a `label`, `(x, y)`.

        `x` maps each of `columns` (all but the labels) to a tensor `(batch, ...)`; with an `encoder` it is what the
        encoder makes of the raw columns, as a server will. `y` is the column `label`, or a mapping if that is a list of
        columns or maps outputs to columns. `types` overrules columns' types: `{"age": "float32"}`. Rows are shuffled
        anew each epoch, by the seed, within windows of `window` rows. `format` is `csv`, `parquet` or `npz`; None: by
        the files' names. Raise ConfigurationError, FeatureError or StorageError.
        """
        rows = Rows(label, columns, types, encoder)
        with self._told():
            kind = format or self._format()
            if kind == "npz":
                batches: Resumable = self._arrays(rows, batch_size, shuffle)
            else:
                batches = self._table(rows, kind, batch_size, window if shuffle else 0)
        return self._host.train_on(batches, shuffled=shuffle)

    def records(
        self,
        features: Mapping[str, Any],
        *,
        label: str | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        window: int = RECORDS,
    ) -> tf.data.Dataset:
        """Return TFRecord files of `tf.train.Example`s as batches of `x` or, with a `label`, `(x, y)`.

        `features` says what to parse, as `tf.io.parse_example` takes it; `label` is one of them. Files that end with
        `.gz` are compressed. Records are counted first, once. Raise ConfigurationError or StorageError.
        """
        import tensorflow as tf

        from modelyard.training.records import RecordBatches

        def parse(batch: Any) -> Any:
            parsed = tf.io.parse_example(batch, dict(features))
            return parsed if label is None else (parsed, parsed.pop(label))

        with self._told():
            paths, seed = self.paths(), self._host.seed
            batches = RecordBatches(
                paths, parse, batch_size=batch_size, seed=seed, window=window if shuffle else 0, finished=self._finished
            )
        return self._host.train_on(batches, shuffled=shuffle)

    def images(
        self,
        size: tuple[int, int] | None = None,
        *,
        channels: int = 3,
        encoder: Encoder | None = None,
        label: str | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
    ) -> tf.data.Dataset:
        """Return JPEG and PNG files as batches of `(pictures, classes)`, or pictures alone if they are in no folders.

        Pictures are float32 `(batch, height, width, channels)` from 0 to 255, read by the code that serving uses; with
        an `encoder`, its only feature is the picture, which is resized and scaled as declared. A file's class is the
        number of its folder: `classes` has the names. `label` names the output: `y` is then a mapping of it. Raise
        ConfigurationError or StorageError.
        """
        from modelyard.training.pictures import Pictures, is_picture

        with self._told():
            pictures, place = Pictures(size, channels, encoder, label), self._source.place
            found = [
                (path, place.within(name))
                for path, name in zip(self.paths(), self._source.versions, strict=True)
                if is_picture(name)
            ]
            if not found:
                raise ColumnProblem("there are no JPEG or PNG files")
            numbers = {name: number for number, name in enumerate(self.classes)}
            if numbers and any("/" not in within for _, within in found):
                raise ColumnProblem("some pictures lie in folders, their classes, and some do not")
            classes = [numbers[within.split("/")[0]] for _, within in found] if numbers else None
            files = [path for path, _ in found]
            batches = pictures.batches(files, classes, batch_size=batch_size, seed=self._host.seed, shuffle=shuffle)
        return self._host.train_on(batches, shuffled=shuffle)

    @property
    def classes(self) -> list[str]:
        """Names of the folders that pictures lie in, sorted: of class 0, of class 1, and so on; none: no folders."""
        from modelyard.training.pictures import is_picture

        place = self._source.place
        names = [place.within(path) for path in self._source.versions if is_picture(path)]
        return sorted({name.split("/")[0] for name in names if "/" in name})

    def _format(self) -> str:
        """Return the format that all files' names say."""
        formats = {
            next((kind for end, kind in _FORMATS.items() if path.endswith(end)), "") for path in self._source.versions
        }
        if len(formats) != 1 or formats == {""}:
            raise ColumnProblem("the files' names do not say one format: format='csv', 'parquet' or 'npz' does")
        return formats.pop()

    def _arrays(self, rows: Rows, batch_size: int, shuffle: bool) -> Resumable:
        from modelyard.training.batches import Batches

        arrays = read_npz(self.paths(), rows)
        self._source.verify()
        return Batches(arrays, batch_size=batch_size, seed=self._host.seed, shuffle=shuffle)

    def _table(self, rows: Rows, kind: str, batch_size: int, window: int) -> Resumable:
        from modelyard.training.tables import TableBatches, parquet_of

        paths = self.paths()
        if kind == "csv":
            target = self._source.derived(f"{sorted((rows.types or {}).items())}")
            paths = parquet_of(paths, target, rows)
        elif kind != "parquet":
            raise ColumnProblem(f"format={kind!r}: there are csv, parquet and npz")
        return TableBatches(
            paths, rows, batch_size=batch_size, seed=self._host.seed, window=window, reading=self._reading
        )

    def _finished(self) -> None:
        """Look, below tf.data, whether the files are still what they were."""
        try:
            self._source.verify()
        except ConfigurationError as error:
            raise remember(error) from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Guard a pass below tf.data: a file that changed explains whatever went wrong."""
        try:
            with self._told():
                yield
        except Exception as error:
            self._finished()
            if isinstance(error, ConfigurationError):
                remember(error)
            raise
        self._finished()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn a problem with a column or feature into one that names the source."""
        try:
            yield
        except (ColumnProblem, FeatureError) as error:
            raise ConfigurationError(f"{self._source}: {error}") from error
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"{self._source}: {error}: pip install 'modelyard[data]'") from error
