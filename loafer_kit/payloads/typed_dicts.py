"""TypedDicts of `typing`, made acceptable to pydantic, which refuses them before Python 3.12."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TypedDict

from loafer_kit.payloads import annotations


class _Example(TypedDict):
    pass


#: What makes the classes by which pydantic knows what to refuse: they do not remember the TypedDicts
#: they derive from, whose configuration and validators it cannot find therefore. It reads all fields.
_TYPING = type(_Example)
_ACCEPTED = type("_Accepted", (_TYPING,), {"__orig_bases__": (TypedDict,)})


@contextlib.contextmanager
def accepted(annotation: Any) -> Iterator[None]:
    """Let pydantic take the TypedDicts in `annotation`, at any depth, while the block runs.

    The types stay themselves: copies could stand neither in the fields of a dataclass nor in a
    TypedDict that contains itself.
    """
    if sys.version_info >= (3, 12):
        yield
        return
    everything = annotations.parts(annotation, of_fields=True)
    refused: list[Any] = [part for part in everything if type(part) is _TYPING]
    try:
        for kind in refused:
            kind.__class__ = _ACCEPTED
        yield
    finally:
        for kind in refused:
            kind.__class__ = _TYPING
