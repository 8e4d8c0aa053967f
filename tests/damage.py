"""JSON documents that somebody, or something, has damaged."""

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


@st.composite
def damaged(draw, document):
    """The document with some of its places replaced, renamed, taken out, or deep down."""
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
                within[step] = _nested(
                    within[step], draw(st.sampled_from([1, 3, 60, 110])), draw(st.booleans())
                )
            case "renamed" if isinstance(within, dict):
                within[draw(_TEXTS)] = within.pop(step)
            case _:
                del within[step]
    return document


def _places(value):
    """Every place of a document: what holds it, and its key or its index there."""
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
