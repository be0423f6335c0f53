"""Pictures in folders as batches, decoded and resized by the code that serving uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modelyard.contract.package import Features, ImageFeature
from modelyard.model.encoders import Array
from modelyard.model.features import Encoder
from modelyard.training.batches import Batches
from modelyard.training.rows import ColumnProblem

__all__ = ["Pictures", "is_picture"]

_ENDINGS = (".jpg", ".jpeg", ".png")


def is_picture(path: str) -> bool:
    """Return whether a file's name is that of a picture."""
    return path.lower().endswith(_ENDINGS)


class Pictures:
    """What becomes of the files: `x`, or `(x, y)` if they lie in folders."""

    def __init__(self, size: tuple[int, int] | None, channels: int, encoder: Encoder | None, label: str | None) -> None:
        """Raise ColumnProblem if size and encoder do not say what a picture becomes."""
        self._is_bare, self._label = encoder is None, label
        if encoder is None:
            if size is None or channels not in (1, 3):
                raise ColumnProblem("images(size=(height, width), channels=3 or 1) or images(encoder=...) is needed")
            feature = ImageFeature(name="picture", height=size[0], width=size[1], channels=channels)
            encoder = Encoder(Features(features=[feature]))
        if len(encoder.names) != 1:
            raise ColumnProblem(f"images(encoder=...) takes one of a single feature, not {', '.join(encoder.names)}")
        self._encoder = encoder
        [self._name] = encoder.names

    def batches(
        self, files: Sequence[Path], classes: Sequence[int] | None, *, batch_size: int, seed: int, shuffle: bool
    ) -> Batches:
        """Return batches of the files; `classes` has the number of each one's folder."""
        names = np.array([str(file) for file in files], dtype=object)
        arrays = (names,) if classes is None else (names, np.array(classes, dtype=np.int64))
        return Batches(arrays, batch_size=batch_size, seed=seed, shuffle=shuffle, then=self._decode)

    def _decode(self, names: Any, labels: Any = None) -> Any:
        spec = self._encoder.inputs[self._name]
        pixels = tf.ensure_shape(tf.numpy_function(self._read, [names], spec.dtype), (None, *spec.shape))
        inputs = pixels if self._is_bare else {self._name: pixels}
        if labels is None:
            return (inputs,)
        return inputs, {self._label: labels} if self._label else labels

    def _read(self, names: Array) -> Array:
        contents = [Path(name.decode()).read_bytes() for name in names.tolist()]
        return self._encoder.encode_columns({self._name: contents})[self._name]
