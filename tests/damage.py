"""Strategies for damaged documents and texts."""

import json

from hypothesis import strategies as st

_TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "#", "#/", "../x", "a\ud800", "a\nb", "\x1b[2K", "{{ x }}", "true", "1" * 30, ":", "/"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_PIECES = [
    *"[](){}\"'\n\r\t\f\\#,=:*.@;\0\u2028é",
    *['"""', "'''", "\\\n", "\ufeff", "\r\n", "0xfff", "# coding: latin-1\n"],
    *["import x\n", "from . import *\n", "if 1:", "else:", "lambda: 0", "def f(): pass\n"],
    *["routes = ()\n", "SQSRoute(*a, **b)", "SQSRoute()", "app = LoaferManager()\n"],
    *["assert [] == [(1,)]\n", "with a: b\n", "[[queues]]\n", "[a]\n", "<<<<<<< yours\n"],
    *["a" + ".b" * 300, "[" * 300, "1 + " * 300],
]


@st.composite
def damaged(draw, document):
    """A JSON document with values replaced, removed or nested deeply, and keys renamed."""
    document = _copy(document)
    for _ in range(draw(st.integers(1, 4))):
        found = list(_places(document))
        if not found:
            break
        within, step = draw(st.sampled_from(found))
        match draw(st.sampled_from(["value", "other", "nested", "renamed", "gone"])):
            case "value":
                within[step] = draw(_VALUES)
            case "other":
                elsewhere, place = draw(st.sampled_from(found))
                within[step] = _copy(elsewhere[place])
            case "nested":
                depth, in_lists = draw(st.sampled_from([1, 3, 60, 110])), draw(st.booleans())
                within[step] = _nested(within[step], depth, in_lists)
            case "renamed" if isinstance(within, dict):
                within[draw(_TEXTS)] = within.pop(step)
            case _:
                del within[step]
    return document


@st.composite
def damaged_text(draw, text):
    """A text with parts replaced by other text or by copies of itself."""
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(text)))
        end = begin + draw(st.sampled_from([0, 0, 1, 3, 20, 100]))
        other = draw(st.integers(0, len(text)))
        piece = draw(st.sampled_from(_PIECES) | st.just(text[other : other + 40]))
        text = text[:begin] + piece + text[end:]
    return text


def _places(value):
    """Every place of a document, as its container and its key or index."""
    waiting = [value]
    while waiting:
        within = waiting.pop()
        if isinstance(within, dict | list):
            for step, inner in within.items() if isinstance(within, dict) else enumerate(within):
                yield within, step
                waiting.append(inner)


def _copy(value):
    return json.loads(json.dumps(value))


def _nested(value, depth, in_lists):
    for _ in range(depth):
        value = [value] if in_lists else {"properties": value}
    return value
