"""The flags of the command line as a source."""

import pytest

from loafer_kit.scaffold.sources import command_line
from loafer_kit.scaffold.spec.specs import Draft, SpecError


def test_a_queue_is_typed_with_its_settings():
    """`NAME,key=value` gives the types that the keys have."""
    draft = command_line.merge(
        Draft({}), "foobar", ["a,wait_time=3,kind=sns,handler_timeout=1.5", "b.fifo,heartbeat=no"]
    )

    assert draft.values == {
        "name": "foobar",
        "queues": [
            {"name": "a", "wait_time": 3, "kind": "sns", "handler_timeout": 1.5},
            {"name": "b.fifo", "heartbeat": False},
        ],
    }


def test_a_whole_number_stays_one():
    """Also where a key takes any number: nobody typed `20.0`."""
    draft = command_line.merge(Draft({}), None, ["a,handler_timeout=20,rate_limit=0.5"])

    assert repr(draft.values["queues"][0]["handler_timeout"]) == "20"
    assert draft.values["queues"][0]["rate_limit"] == 0.5


def test_what_is_typed_goes_over_what_a_file_says():
    """The name is replaced, queues are added."""
    draft = command_line.merge(Draft({"name": "old", "queues": [{"name": "a"}]}), "new", ["b"])

    assert draft.values == {"name": "new", "queues": [{"name": "a"}, {"name": "b"}]}


def test_settings_that_cannot_be_read_are_all_named():
    """A pair without `=`, and a key given twice."""
    with pytest.raises(SpecError) as caught:
        command_line.merge(Draft({}), "foobar", ["a,wait_time", "b,heartbeat=no,heartbeat=yes"])

    assert [problem.place for problem in caught.value.problems] == [
        "queues[0]",
        "queues[1].heartbeat",
    ]
