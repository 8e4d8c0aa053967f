"""YAML with limited aliases, and the line of each value."""

import pytest

from loafer_kit.scaffold.sources import yaml_nodes

BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize("text", [BOMB, MERGES, "a: &a [*a]", "a: &a {b: *a}", "? &a [*a]\n: 1"])
def test_aliases_that_multiply_are_refused_in_no_time(text):
    """Those that lead back to where they stand as well."""
    with pytest.raises(ValueError, match="too large"):
        yaml_nodes.read(text)


def test_aliases_may_repeat_what_stands_elsewhere():
    """Each place has its own line."""
    values, found = yaml_nodes.read("a: &a\n  - 1\nb: *a\n")

    assert values == {"a": [1], "b": [1]}
    assert (found["a",], found["a", 0], found["b",]) == (1, 2, 3)
