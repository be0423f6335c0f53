"""The page of a model: what it is, how good it is, what it is asked, and a form to ask it. Nothing from outside."""

import base64
import html
import io
from hashlib import sha256
from importlib.resources import files
from typing import Any

import numpy as np

from modelyard.contract.package import CategoryFeature, CrossFeature, Feature, ImageFeature, ListFeature
from modelyard.model.opening import Model
from modelyard_server.core import Core
from modelyard_server.doors.documents import dump

__all__ = ["make_page"]

Json = dict[str, Any]
_SCRIPTS = ("about.js", "fields.js", "charts.js", "asking.js")
#: Words of a vocabulary that a field suggests.
_MOST_CHOICES = 500


def make_page(core: Core) -> tuple[bytes, str]:
    """Return the page and its content security policy: its own style and script, and answers of this server."""
    folder = files("modelyard_server") / "page"
    style = (folder / "style.css").read_text()
    script = "\n".join((folder / name).read_text() for name in _SCRIPTS)
    # within a script element only `<` could end it
    data = dump(_described(core)).decode().replace("<", "\\u003c")
    page = (folder / "page.html").read_text()
    for name, text in {"title": html.escape(core.name), "style": style, "script": script, "data": data}.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.encode(), policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _described(core: Core) -> Json:
    model = core.model
    example = model.samples[0].request if model.samples else {}
    features = [feature for feature in model.features.features if not isinstance(feature, CrossFeature)]
    return {
        "name": core.name,
        "version": core.version,
        "digest": model.digest,
        "created": model.manifest.created,
        "variant": model.variant.name,
        "variants": [variant.document() for variant in model.manifest.variants],
        "metrics": model.manifest.metrics,
        "features": [_field(model, feature, example.get(feature.name)) for feature in features],
        "outputs": [output.document() for output in model.labels.outputs],
        "baseline": model.baseline.document(),
    }


def _field(model: Model, feature: Feature, example: Any) -> Json:
    """Return what a form needs to know of a feature."""
    default = getattr(feature, "default", None)
    known = feature.vocabulary[:_MOST_CHOICES] if isinstance(feature, CategoryFeature | ListFeature) else None
    return {
        "name": feature.name,
        "type": feature.type,
        "description": feature.description,
        "expects": model.encoder.expects[feature.name],
        "required": default is None,
        "default": default,
        "example": _picture(example) if isinstance(feature, ImageFeature) else example,
        "choices": known,
        "minimum": getattr(feature, "minimum", None),
        "maximum": getattr(feature, "maximum", None),
        "shape": getattr(feature, "shape", None),
    }


def _picture(pixels: Any) -> Json | None:
    """Return the numbers of a picture as a PNG file, which has exactly the same, or None if it can't."""
    from PIL import Image

    array = np.asarray(pixels)
    if array.ndim != 3 or array.dtype.kind not in "iu":
        return None
    file = io.BytesIO()
    Image.fromarray(array.astype(np.uint8).squeeze(-1) if array.shape[2] == 1 else array.astype(np.uint8)).save(
        file, "PNG"
    )
    return {"b64": base64.b64encode(file.getvalue()).decode()}
