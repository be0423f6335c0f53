"""A training script as its syntax tree tells it: what it imports, reads and publishes. Nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property

__all__ = ["REQUIRED", "UNKNOWN", "Script", "dotted"]

#: A value that only running the script would tell.
UNKNOWN = object()
#: In place of a default: there is none.
REQUIRED = object()

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Script:
    """What a script does with its run."""

    def __init__(self, tree: ast.Module) -> None:
        self._nodes = list(ast.walk(tree))
        self._functions = {node.name: node for node in self._nodes if isinstance(node, _Function)}
        self._classes = {node.name: node for node in self._nodes if isinstance(node, ast.ClassDef)}
        self._docstrings = {id(node.value) for node in self._nodes if isinstance(node, ast.Expr)}

    @cached_property
    def imports(self) -> list[tuple[str, int]]:
        """Top-level modules that must be there, with the line; not those whose absence is provided for."""
        optional = {id(inner) for node in self._nodes if _is_provided_for(node) for inner in ast.walk(node)}
        found: list[tuple[str, int]] = []
        for node in self._nodes:
            if id(node) in optional:
                continue
            if isinstance(node, ast.Import):
                found += [(alias.name.split(".")[0], node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.append((node.module.split(".")[0], node.lineno))
        return list(dict.fromkeys(found))

    @cached_property
    def runs(self) -> frozenset[str]:
        """Names that hold the run: what `modelyard.run()` is assigned to, and parameters of that name or type."""
        names = {"run"} if any(isinstance(n, ast.arg) and n.arg == "run" for n in self._nodes) else set()
        for node in self._nodes:
            if isinstance(node, ast.Assign) and _begins_run(node.value):
                names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.arg) and node.annotation and dotted(node.annotation) in ("Run", "modelyard.Run"):
                names.add(node.arg)
        return frozenset(names)

    @property
    def begins_run(self) -> bool:
        """Whether `modelyard.run()` is called."""
        return any(_begins_run(node) for node in self._nodes)

    def calls(self, method: str) -> list[ast.Call]:
        """Return the calls of a method of the run."""
        return [
            node
            for node in self._nodes
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == method
            and (dotted(node.func.value) in self.runs or _begins_run(node.func.value))
        ]

    def functions_called(self) -> Iterator[tuple[str, ast.Call]]:
        """Yield every call with the dotted name of what is called: `pd.read_csv`, or `.to_csv` of anything."""
        for node in self._nodes:
            if isinstance(node, ast.Call):
                name = dotted(node.func)
                if name is not None:
                    yield name, node
                elif isinstance(node.func, ast.Attribute):
                    yield f".{node.func.attr}", node

    def texts(self) -> Iterator[ast.Constant]:
        """Yield the string constants that are no documentation."""
        for node in self._nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in self._docstrings:
                yield node

    def names(self, method: str) -> list[tuple[str, int]]:
        """Return the constant first arguments of a method of the run, with their lines."""
        found = [(_text(_argument(call, 0, "name")), call.lineno) for call in self.calls(method)]
        return [(name, line) for name, line in found if name is not None]

    @cached_property
    def hyperparameters(self) -> dict[str, tuple[object, int]]:
        """Hyperparameters that are read: name to default (a value, REQUIRED or UNKNOWN) and line."""
        found: dict[str, tuple[object, int]] = {}
        for call in self.calls("hyperparameter"):
            if (name := _text(_argument(call, 0, "name"))) is not None:
                found[name] = (_literal(_argument(call, 1, "default")), call.lineno)
        for call in self.calls("hyperparameters_as"):
            found |= {name: (default, call.lineno) for name, default in self._fields(call).items()}
        for node in self._nodes:
            if (
                isinstance(node, ast.Subscript)
                and self._is_mapping(node.value)
                and isinstance(node.slice, ast.Constant)
            ):
                found.setdefault(str(node.slice.value), (REQUIRED, node.lineno))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                name = _text(_argument(node, 0, "key"))
                if self._is_mapping(node.func.value) and name is not None:
                    found.setdefault(name, (UNKNOWN, node.lineno))
        return found

    @property
    def reads_all(self) -> bool:
        """Whether hyperparameters may be read that cannot be named from here."""
        known = sum(isinstance(n, ast.Subscript) and self._is_mapping(n.value) for n in self._nodes)
        known += sum(
            isinstance(n, ast.Attribute) and n.attr == "get" and self._is_mapping(n.value) for n in self._nodes
        )
        named = all(_text(_argument(call, 0, "name")) is not None for call in self.calls("hyperparameter"))
        classes = all(self._fields(call) for call in self.calls("hyperparameters_as"))
        return not (named and classes and known == sum(self._is_mapping(node) for node in self._nodes))

    @property
    def refuses_unknown(self) -> bool:
        """Whether a hyperparameter that the script does not know ends the run."""
        return bool(self.calls("hyperparameters_as"))

    def _is_mapping(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "hyperparameters" and dotted(node.value) in self.runs

    def _fields(self, call: ast.Call) -> dict[str, object]:
        """Return the fields of the class that hyperparameters are read as, with their defaults."""
        kind = _argument(call, 0, "kind")
        known = self._classes.get(kind.id) if isinstance(kind, ast.Name) else None
        return {
            node.target.id: REQUIRED if node.value is None else _literal(node.value)
            for node in (known.body if known else [])
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }

    def metrics(self, publish: ast.Call) -> set[str] | None:
        """Return the names of the metrics that a call of publish gives; None if only running it would tell."""
        given = _argument(publish, -1, "metrics")
        return self._keys(given, 5) if given is not None else None

    def _keys(self, node: ast.expr, depth: int) -> set[str] | None:
        """Return the keys of a mapping: a literal, a variable, or what a function of the script returns."""
        if depth == 0:
            return None
        if isinstance(node, ast.Dict):
            parts = [
                self._keys(value, depth - 1) if key is None else _one(_text(key))
                for key, value in zip(node.keys, node.values, strict=True)
            ]
            return _union(parts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return _union([self._keys(node.left, depth - 1), self._keys(node.right, depth - 1)])
        if isinstance(node, ast.Name):
            return _union([self._keys(value, depth - 1) for value in self._assigned(node.id)] or [None])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "dict" and not node.args:
                return _union([_one(word.arg) or self._keys(word.value, depth - 1) for word in node.keywords])
            if function := self._functions.get(node.func.id):
                returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value]
                return _union([self._keys(value, depth - 1) for value in returned] or [None])
        return None

    def _assigned(self, name: str) -> Iterator[ast.expr]:
        """Yield what a variable is assigned, anywhere; something unknown if it is changed in other ways."""
        for node in self._nodes:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value:
                targets = [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id == name:
                    yield node.value  # type: ignore[attr-defined]
                elif isinstance(target, ast.Subscript) and dotted(target.value) == name:
                    yield ast.Dict([target.slice], [ast.Constant(None)])
            if isinstance(node, ast.Call) and dotted(node.func) == f"{name}.update":
                yield node.args[0] if node.args else node


def dotted(node: ast.AST) -> str | None:
    """Return `a.b.c` of a name or a chain of attributes of one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return None


def _begins_run(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func) in ("modelyard.run", "run")


def _is_provided_for(node: ast.AST) -> bool:
    """Return whether an import in a node may fail: in a try that catches it, or for type checkers only."""
    if isinstance(node, ast.If):
        return (dotted(node.test) or "").endswith("TYPE_CHECKING")
    caught = {"ImportError", "ModuleNotFoundError", "Exception", None}
    return isinstance(node, ast.Try) and any(
        {dotted(kind) if kind else None for kind in getattr(handler.type, "elts", [handler.type])} & caught
        for handler in node.handlers
    )


def _argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    if 0 <= place < len(call.args):
        return call.args[place]
    return next((word.value for word in call.keywords if word.arg == name), None)


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _one(name: str | None) -> set[str] | None:
    return None if name is None else {name}


def _literal(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node) if node is not None else UNKNOWN
    except ValueError:
        return UNKNOWN


def _union(parts: list[set[str] | None]) -> set[str] | None:
    return None if any(part is None for part in parts) else {name for part in parts if part for name in part}
