"""Dead letters that would never rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.spec import circles


def chain(*pairs):
    return [{"name": name, "dead_letter_queue": target} for name, target in pairs]


@pytest.mark.parametrize(
    "queues", [chain(("a", "b"), ("b", "a")), chain(("a", "b"), ("b", "c"), ("c", "a"))]
)
def test_a_circle_is_a_problem_where_it_closes(queues):
    """Of two queues, or of more."""
    (problem,) = circles.problems_of(queues)

    assert problem.path == ("queues", len(queues) - 1, "dead_letter_queue")
    assert problem.message == f"dead letters of {queues[-1]['name']!r} would come back to it"


def test_a_chain_is_none():
    """Dead letters may be handled, and may fail again."""
    assert list(circles.problems_of(chain(("a", "b"), ("b", "c"), ("d", "b")))) == []


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"))))
def test_whatever_is_left_ends(pairs):
    """Following the dead letters of what has no problem comes to an end."""
    queues = chain(*dict(pairs).items())
    closing = {problem.path[1] for problem in circles.problems_of(queues)}
    target = {q["name"]: q["dead_letter_queue"] for i, q in enumerate(queues) if i not in closing}

    for start in target:
        seen, name = set(), start
        while name in target and target.get(name) != name:
            assert name not in seen
            seen.add(name)
            name = target.get(name)
