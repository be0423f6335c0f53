"""Documents with something wrong somewhere in them."""

import random
from typing import Any

__all__ = ["STRANGE", "damage"]

STRANGE: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, -1e308, 2**63, 10**400, "", "x" * 10_000, "\ud800", [], [[]], {}, {"b64": ""},
    [1, [2]], {"price": {}}, [None] * 100, {"": {"": {"": []}}}, float("nan"), float("inf"), [[[[[[1]]]]]],
]  # fmt: skip


def damage(document: Any, chance: random.Random) -> Any:
    """Return the document with one place somewhere in it replaced, dropped or doubled."""
    if isinstance(document, dict) and document and chance.random() < 0.8:
        name = chance.choice(list(document))
        changed = dict(document)
        match chance.randrange(4):
            case 0:
                del changed[name]
            case 1:
                changed[str(chance.choice(STRANGE))[:50]] = changed[name]
            case _:
                changed[name] = damage(document[name], chance)
        return changed
    if isinstance(document, list) and document and chance.random() < 0.8:
        changed_list = list(document)
        place = chance.randrange(len(document))
        match chance.randrange(4):
            case 0:
                del changed_list[place]
            case 1:
                changed_list *= 2
            case _:
                changed_list[place] = damage(document[place], chance)
        return changed_list
    return chance.choice(STRANGE)
