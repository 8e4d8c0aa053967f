"""Spec files and documents: values, lines, and errors of one line."""

import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import documents, lines
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import SpecError

TOML = """\
# a [comment] with = signs
name = "foobar"

[[queues]]
name = "orders"
"handlr" = \"\"\"
x
\"\"\"
wait_time = 99

[[queues]]
name = 'bills'
concurrency = 0
"""
JSON = """{"name": "foobar", "queues": [
 {"name": "orders",
  "handlr": "x",
  "wait_time": 99},
 {"name": "bills", "concurrency":
   0}
]}"""
YAML = """\
name: foobar
queues:
- name: orders
  handlr: x
  wait_time: 99
- {name: bills,
   concurrency: 0}
"""


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [
        ("toml", TOML, {"queues[0].handlr": 6, "queues[0].wait_time": 9, "queues[1].concurrency": 13}),
        ("json", JSON, {"queues[0].handlr": 3, "queues[0].wait_time": 4, "queues[1].concurrency": 5}),
        ("yaml", YAML, {"queues[0].handlr": 4, "queues[0].wait_time": 5, "queues[1].concurrency": 7}),
    ],
)  # fmt: skip
def test_each_problem_of_a_file_has_its_line(tmp_path, suffix, text, expected):
    """In all three formats."""
    file = tmp_path / f"spec.{suffix}"
    file.write_text(text)

    with pytest.raises(SpecError, match=str(file)) as caught:
        validation.service(documents.read(file))

    assert {problem.place: problem.line for problem in caught.value.problems} == expected


def test_a_missing_key_has_the_line_of_its_table(tmp_path):
    """The line to look at is where the table begins."""
    file = tmp_path / "spec.toml"
    file.write_text('name = "foobar"\n\n[[queues]]\nheartbeat = false\n')

    with pytest.raises(SpecError, match=r"queues\[0\].name: is missing \(line 3\)"):
        validation.service(documents.read(file))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ini", b"", "ends in .toml"),
        ("a.toml", b"a = ]", "line 1"),
        ("a.toml", b"\xff", "not UTF-8"),
        ("a.json", b"{", "line 1"),
        ("a.json", b'{"a": 1, "a": 2}', "'a' is given twice"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.yaml", b"[" * 100_000, "nested too deeply"),
        ("a.toml", b"a = " + b"[" * 100_000, "nested too deeply"),
        ("a.toml", b"a." * 200 + b"a = 1", "nested too deeply"),
        ("a.toml", b"a = 0x" + b"f" * 100_000, "a number that is too large"),
        ("a.yaml", b"a: \0", "special characters are not allowed"),
        ("a.yaml", b"a: !!bool x", "cannot be read as its tag says"),
        ("a.yaml", b"a: !!int ''", "cannot be read as its tag says"),
        ("a.yaml", b"a: !!timestamp x", "cannot be read as its tag says"),
        ("a.json", b"[]", "a table"),
        ("a.yaml", b"a: [", "line 1"),
        ("a.yaml", b"a: 1\na: 2", "'a' is given twice"),
        ("a.yaml", b"", "a table"),
        ("a.yaml", b"!!python/object/apply:os.system ['true']", "could not determine"),
        ("a.toml", b" " * (documents.LARGEST + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_spec_is_an_error_of_one_line(tmp_path, name, content, message):
    """The line says which file, and what is wrong with it."""
    file = tmp_path / name
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match=message) as caught:
        documents.read(file)

    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    assert "<unicode string>" not in str(caught.value)


@pytest.mark.parametrize("name", ["spec.toml", "spec"])
def test_a_file_that_is_not_there_is_an_error_of_one_line(tmp_path, name):
    """Whatever its name ends in."""
    with pytest.raises(ConfigurationError, match="No such file"):
        documents.read(tmp_path / name)


def test_lines_are_looked_for_once(tmp_path, monkeypatch):
    """However many problems a file has; in a very large one not at all."""
    looked = []
    monkeypatch.setattr(lines, "of_json", lambda text: looked.append(len(text)) or {(): 1})
    for size in (1, 3 * documents.LARGEST):
        file = tmp_path / f"{size}.json"
        file.write_text('{"a": "' + "x" * size + '"}')
        document = documents.load(file, documents.JSON, what="a test", largest=10**8)
        assert [document.line(("a",)) for _ in range(9)] == [1 if size == 1 else None] * 9

    assert looked == [10]
