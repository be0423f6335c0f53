"""LiteRT files from elsewhere: their inputs and outputs are given the names of features and labels."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from modelyard.contract.package import MODEL_LITERT, Labels, Precision, Variant
from modelyard.model.features import InputSpec
from modelyard.model.optimising import ORIGINAL
from modelyard.model.runtime import SIGNATURE, RuntimeProblem
from modelyard.model.runtime.litert import check_litert
from modelyard.model.sources import PublishError

__all__ = ["adopt_litert"]

#: What TensorFlow adds to the name of an input that becomes a tensor.
_DECORATION = re.compile(r"^serving_default_|:[0-9]+$")


def adopt_litert(
    path: str | os.PathLike[str],
    inputs: Mapping[str, InputSpec],
    labels: Labels,
    folder: Path,
    precisions: Sequence[Precision] = (),
) -> list[Variant]:
    """Write `model.tflite` from a file; return the variants, those that would need the original with the reason.

    Names that are the features' and the labels' are kept; what has another name is taken in the order of the file.
    Raises PublishError.
    """
    try:
        content = Path(path).read_bytes()
        check_litert(content)
    except (OSError, RuntimeProblem) as error:
        raise PublishError(f"{os.fspath(path)}: {error}") from error
    content = _rename(content, list(inputs), [output.name for output in labels.outputs])
    (folder / MODEL_LITERT).write_bytes(content)
    reason = "it is made from the original, and this package was made from a LiteRT file"
    return [
        Variant(name=ORIGINAL, runtime="litert", path=MODEL_LITERT, size=len(content)),
        *(
            Variant(name=name, runtime="litert", path=f"model-{name}.tflite", size=0, serve=False, reason=reason)
            for name in precisions
        ),
    ]


def _rename(content: bytes, inputs: list[str], outputs: list[str]) -> bytes:
    """Return the model with a signature of these names; itself if it has one."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    signatures = {_text(one.signatureKey): one for one in model.signatureDefs or []}
    found = signatures.get(SIGNATURE) or (next(iter(signatures.values())) if len(signatures) == 1 else None)
    if found is None:
        if signatures:
            raise PublishError(f"the file has the signatures {', '.join(signatures)}: {SIGNATURE} is expected")
        found = _signature_of(model)
        model.signatureDefs = [found]
    takes, gives = _names(found.inputs), _names(found.outputs)
    knows_inputs, knows_outputs = set(takes) <= set(inputs), set(outputs) <= set(gives)
    if signatures and _text(found.signatureKey) == SIGNATURE and knows_inputs and knows_outputs:
        return content
    found.signatureKey = SIGNATURE.encode()
    if not knows_inputs:
        _give_names(found.inputs, inputs, f"the file takes {', '.join(takes)}; features encode")
    if not knows_outputs:
        _give_names(found.outputs, outputs, f"the file gives {', '.join(gives)}; labels name")
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _signature_of(model: Any) -> Any:
    """Return a signature of the first graph, inputs and outputs by their tensors' names."""
    graph = model.subgraphs[0]

    def maps(places: Any) -> list[Any]:
        made = []
        for place in places:
            entry = schema.TensorMapT()
            name = _DECORATION.sub("", _text(graph.tensors[place].name))
            entry.name, entry.tensorIndex = name.encode(), int(place)
            made.append(entry)
        return made

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    signature.inputs, signature.outputs = maps(graph.inputs), maps(graph.outputs)
    return signature


def _names(entries: list[Any]) -> list[str]:
    return [_text(entry.name) for entry in entries]


def _give_names(entries: list[Any], names: list[str], told: str) -> None:
    """Rename a signature's tensors, in their order."""
    if len(entries) != len(names):
        raise PublishError(f"{told} {', '.join(names)}")
    for entry, name in zip(entries, names, strict=True):
        entry.name = name.encode()


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
