"""`add monitoring`: the name in a `loafer.toml` that was edited."""

import tomllib

import pytest

from loafer_kit.scaffold.project.pieces import UnplacedError
from loafer_kit.scaffold.project.spec_file import (
    with_artefact,
    with_queue,
    with_type,
    without_queue,
)

QUEUES = '\n[[queues]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('name = "a"\n', 'name = "a"\nwith = ["monitoring"]\n'),
        ('name = "a" # ours\n', 'name = "a" # ours\nwith = ["monitoring"]\n'),
        ('name = "a"\npackage = "b"\n', 'name = "a"\npackage = "b"\nwith = ["monitoring"]\n'),
        ('name = "a"\nwith = ["ci"]\n', 'name = "a"\nwith = ["monitoring", "ci"]\n'),
        ('with=[ "ci" ] # x\nname = "a"\n', 'with=["monitoring", "ci" ] # x\nname = "a"\n'),
        ('with = []\nname = "a"\n', 'with = ["monitoring"]\nname = "a"\n'),
        ('with = [ ]\nname = "a"\n', 'with = ["monitoring"]\nname = "a"\n'),
        (
            'name = "a"\nwith = [\n    "ci",\n]\n',
            'name = "a"\nwith = ["monitoring",\n    "ci",\n]\n',
        ),
        ('# with = [\nname = "a"\n', '# with = [\nname = "a"\nwith = ["monitoring"]\n'),
        ("", 'with = ["monitoring"]\n'),
        ('\ufeffname = "a"\n', '\ufeffname = "a"\nwith = ["monitoring"]\n'),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_name_is_added_and_no_other_byte_changes(before, after, newline):
    """Wherever the list is, and if there is none."""
    ours = (before + QUEUES).replace("\n", newline).encode()

    assert with_artefact(ours, "monitoring") == (after + QUEUES).replace("\n", newline).encode()


def test_a_name_that_is_there_already_changes_nothing():
    """In any place of the list."""
    ours = ('with = ["ci", "monitoring"]\n' + QUEUES).encode()

    assert with_artefact(ours, "monitoring") == ours


def test_a_table_with_the_same_key_is_left_alone():
    """Only the service's own list counts."""
    ours = 'name = "a"\n\n[[queues]]\nname = "a"\nwith = ["x"]\n'

    after = tomllib.loads(with_artefact(ours.encode(), "monitoring").decode())

    assert after["with"] == ["monitoring"]
    assert after["queues"][0]["with"] == ["x"]


@pytest.mark.parametrize(
    "ours",
    [b"with = 3\n", b"\xff", b"name = \n", b'with = """\nwith = [\n"""\n', b'"with" = ["ci"]\n'],
)
def test_a_file_without_a_place_for_it_is_left_to_its_owner(ours):
    """With the line to add."""
    with pytest.raises(UnplacedError, match="no place for one more name in `with`") as caught:
        with_artefact(ours, "monitoring")
    assert caught.value.snippet == 'with = ["monitoring"]'


TYPES = '\n[[queues]]\nname = "a"\nby = "kind"\n\n[queues.types]\na = {}\nb = {}\n'
REST = '\n# about b\n[[queues]]\nname = "b"'


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_type_is_added_below_the_last_one(newline):
    """However its lines end, and where the file goes on."""
    row = 'c = { handler = "on_c" }\n'
    for before, rest in ((TYPES, ""), (TYPES.rstrip(), ""), (TYPES, REST)):
        made = with_type((before + rest).replace("\n", newline).encode(), 0, "c", "on_c")
        assert made == (TYPES + row + rest).replace("\n", newline).encode()


def test_a_queue_goes_with_the_comment_above_it_and_comes_back():
    """Without another byte of the file."""
    file = ('name = "s"\n' + TYPES + REST + "\n").encode()

    left = without_queue(file, 1)

    assert left == ('name = "s"\n' + TYPES).encode()
    assert with_queue(left, '[[queues]]\nname = "b"') == file.replace(b"# about b\n", b"")
