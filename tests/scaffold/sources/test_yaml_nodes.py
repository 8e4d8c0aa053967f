"""YAML with limited aliases, and the line of each value."""

import datetime as dt

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loafer_kit.scaffold.sources import yaml_nodes

BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize("text", [BOMB, MERGES, "a: &a [*a]", "a: &a {b: *a}"])
def test_aliases_that_multiply_are_refused_in_no_time(text):
    """Those that lead back to where they stand as well."""
    with pytest.raises(ValueError, match="too large"):
        yaml_nodes.read(text)


@pytest.mark.parametrize("key", ["[x]", "&a [*a]"])
def test_a_key_is_a_plain_text(key):
    """A list is none, whatever it contains."""
    with pytest.raises(ValueError, match="a key must be a plain text"):
        yaml_nodes.read(f"? {key}\n: 1")


def test_aliases_may_repeat_what_stands_elsewhere():
    """Each place has its own line."""
    values, found = yaml_nodes.read("a: &a\n  - 1\nb: *a\n")

    assert values == {"a": [1], "b": [1]}
    assert (found["a",], found["a", 0], found["b",]) == (1, 2, 3)


LOADERS = [yaml_nodes.SpecLoader, yaml_nodes.DocumentLoader, yaml_nodes.TemplateLoader]
# Words near those that a resolver takes for another type than text.
words = st.sampled_from(
    [
        "=",
        "<<",
        "~",
        "null",
        "Null",
        "true",
        "True",
        "TRUE",
        "false",
        "False",
        "FALSE",
        "yes",
        "on",
        "off",
        "no",
        "y",
        "n",
        "0",
        "0x1",
        "0o7",
        "010",
        "1_000",
        "1:30",
        ".inf",
        "-.INF",
        ".nan",
        "1.5",
        "1e3",
        "+1",
        "-1",
        "2010-09-09",
        ".",
        "-",
        "+",
    ]
)
plain_words = st.builds(
    "".join, st.tuples(words, st.text("aeflnrstuE-_.=:0123456789", max_size=4))
) | st.text("aeflnrstuoyTFN-_.=~0123456789", min_size=1, max_size=8)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "word", ["false-alarms", "true story", "truely", "Falsetto", "=", "TRUE-1"]
)
def test_a_word_that_begins_like_another_type_is_a_text(loader, word):
    """`QueueName: false-alarms` names a queue; so does a plain `=`."""
    assert yaml_nodes.read(f"a: {word}\n=: 1\n", loader)[0] == {"a": word, "=": 1}


@given(plain_words, st.sampled_from(LOADERS))
@settings(max_examples=400, deadline=None)
def test_plain_words_are_read_as_pyyaml_reads_them(word, loader):
    """Except words that are no booleans and no dates in YAML 1.2, and `=`: those are texts."""
    assume(not word.endswith(":"))  # a mapping, not a word
    try:
        (expected,) = yaml.safe_load(f"- {word}\n")
    except (yaml.YAMLError, ValueError, TypeError):
        assume(word == "=")
        expected = word
    if loader is not yaml_nodes.SpecLoader:
        is_boolean = word.lower() in ("true", "false")
        if isinstance(expected, (dt.date, dt.datetime)) or (
            isinstance(expected, bool) and not is_boolean
        ):
            expected = word
    (found,) = yaml_nodes.read(f"- {word}\n", loader)[0]
    assert (type(found), str(found)) == (type(expected), str(expected))
