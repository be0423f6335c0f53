"""Pictures: decoded and resized the same in training, in the server and in process."""

import io
import math

import numpy as np

from modelyard.model.encoders.common import Array

__all__ = ["decode_image"]

_FORMATS = ("JPEG", "PNG")
#: A picture of more pixels is refused by its header, before it is unpacked.
_MOST_PIXELS = 1 << 26


def decode_image(content: bytes, shape: tuple[int, int, int]) -> Array:
    """Return the picture of a JPEG or PNG file as uint8 `(height, width, channels)`; raise ValueError."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ValueError("pictures need Pillow: pip install modelyard[images]") from error
    height, width, channels = shape
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if math.prod(image.size) > _MOST_PIXELS:
                raise ValueError(
                    f"the picture has {image.width}x{image.height} pixels, at most {_MOST_PIXELS} are read"
                )
            # a JPEG is decoded at half, a quarter or an eighth when that is still large enough
            image.draft("RGB" if channels == 3 else "L", (width, height))
            converted = image.convert("RGB" if channels == 3 else "L")
            if converted.size != (width, height):
                converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise ValueError("neither a JPEG nor a PNG file") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a damaged picture: {error}") from error
    pixels: Array = np.asarray(converted, dtype=np.uint8).reshape(shape)
    return pixels
