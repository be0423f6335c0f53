"""Is it safe to execute this SavedModel? Decided from its files alone, before TensorFlow loads any of them.

TensorFlow's own loader restores variables, creates tables, and runs their initializers while it loads; so everything
that a function of the model does is looked at, whether or not a signature reaches it.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelyard.model.runtime import RuntimeProblem
from modelyard.model.runtime.operations import ALLOWED, SAVING

__all__ = ["check_saved_model"]

#: What the loader may find. It would take `saved_model.cpb` before `saved_model.pb`; assets are files that tables read.
_FILES = re.compile(
    r"saved_model\.pb|fingerprint\.pb|variables/variables\.(index|data-[0-9]{5}-of-[0-9]{5})",
)
_KINDS = frozenset(
    ("user_object", "variable", "function", "bare_concrete_function", "constant", "resource", "captured_tensor")
)
#: Classes that the loader makes objects of; TensorFlow's own tables and constants are the only ones beside the kinds.
_CLASSES = frozenset(("", "tf.StaticHashTable", "tf.TrackableConstant"))
_IDENTIFIERS = frozenset(
    (
        "_generic_user_object",
        "signature_map",
        "trackable_dict_wrapper",
        "trackable_list_wrapper",
        "trackable_tuple_wrapper",
    )
)
_SHOWN = 5


def check_saved_model(folder: Path) -> None:
    """Raise RuntimeProblem that says what is not allowed."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    _check_files(folder)
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / "saved_model.pb").read_bytes())
    except (DecodeError, OSError) as error:
        raise RuntimeProblem(f"a damaged SavedModel: {error}") from error
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        raise RuntimeProblem("a SavedModel of TensorFlow 1, or with several graphs: export it with TensorFlow 2")
    graph = model.meta_graphs[0]
    _check_objects(graph)
    _check_operations(graph)


def _check_files(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or (path.is_file() and not _FILES.fullmatch(name)):
            raise RuntimeProblem(
                f"{name} is no file of a SavedModel that may be opened: vocabularies go into the graph"
            )


def _check_objects(graph: Any) -> None:
    if graph.asset_file_def:
        names = _named(asset.filename for asset in graph.asset_file_def)
        raise RuntimeProblem(f"it reads the asset files {names}: put vocabularies into the graph")
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in _KINDS or node.registered_name not in _CLASSES:
            raise RuntimeProblem(f"it holds an object that may not be restored: {node.registered_name or kind}")
        if kind == "user_object" and node.user_object.identifier not in _IDENTIFIERS:
            raise RuntimeProblem(f"it holds an object that may not be restored: {node.user_object.identifier}")


def _check_operations(graph: Any) -> None:
    from tensorflow.python.framework import op_def_registry

    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    shadowing = [name for name in functions if op_def_registry.get(name) is not None]
    if shadowing:
        raise RuntimeProblem(f"functions with the names of operations: {_named(shadowing)}")
    calls = {name: _calls(function.node_def, functions) for name, function in functions.items()}
    saver = {graph.saver_def.save_tensor_name, graph.saver_def.restore_op_name}
    savers = {name.partition(":")[0] for name in saver}
    others = [node for node in graph.graph_def.node if node.name not in savers]
    called = _calls((node for node in graph.graph_def.node if node.name in savers), functions)
    # whoever else reaches them takes the exception from them
    elsewhere = _calls(others, functions) | set(graph.object_graph_def.concrete_functions)
    saving = _reached(called, calls) - _reached(elsewhere, calls)
    refused = _refused(graph.graph_def.node, ALLOWED, functions)
    for name, function in functions.items():
        refused |= _refused(function.node_def, ALLOWED | SAVING if name in saving else ALLOWED, functions)
    if refused:
        raise RuntimeProblem(f"operations that are not allowed: {_named(refused)}")


def _refused(nodes: Iterable[Any], allowed: frozenset[str], functions: Mapping[str, Any]) -> set[str]:
    from tensorflow.core.framework import types_pb2

    strange = (types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT)
    refused = set()
    for node in nodes:
        if node.op not in allowed and node.op not in functions:
            refused.add(node.op)
        if node.op == "Const" and node.attr["value"].tensor.dtype in strange:
            refused.add("Const of a resource")
    return refused


def _calls(nodes: Iterable[Any], functions: Mapping[str, Any]) -> set[str]:
    """Return the functions that these nodes name."""
    found = set()
    for node in nodes:
        found.add(node.op)
        for value in node.attr.values():
            found.add(value.func.name)
            found.update(function.name for function in value.list.func)
    return found & functions.keys()


def _reached(names: set[str], calls: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [name for name in names if name in calls]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += calls[name]
    return reached


def _named(names: Iterable[str]) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + rest
