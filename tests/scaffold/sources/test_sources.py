"""Where specs come from: what is typed, and what is kept in files."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import documents, flags, lines, yaml_nodes
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.problems import SpecError
from loafer_kit.scaffold.spec.specs import Draft

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


def test_a_queue_is_typed_with_its_settings():
    """`NAME,key=value` gives the types that the keys have."""
    draft = flags.merge(
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
    draft = flags.merge(Draft({}), None, ["a,handler_timeout=20,rate_limit=0.5"])

    assert repr(draft.values["queues"][0]["handler_timeout"]) == "20"
    assert draft.values["queues"][0]["rate_limit"] == 0.5


def test_what_is_typed_goes_over_what_a_file_says():
    """The name is replaced, queues are added."""
    draft = flags.merge(Draft({"name": "old", "queues": [{"name": "a"}]}), "new", ["b"])

    assert draft.values == {"name": "new", "queues": [{"name": "a"}, {"name": "b"}]}


def test_settings_that_cannot_be_read_are_all_named():
    """A pair without `=`, and a key given twice."""
    with pytest.raises(SpecError) as caught:
        flags.merge(Draft({}), "foobar", ["a,wait_time", "b,heartbeat=no,heartbeat=yes"])

    assert [problem.place for problem in caught.value.problems] == [
        "queues[0]",
        "queues[1].heartbeat",
    ]


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


scalars = st.booleans() | st.integers() | st.text(st.characters(codec="ascii"), max_size=9)
tables = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.=", min_size=1), inner),
        max_leaves=9,
    ),
)  # fmt: skip


@given(tables, st.integers(0, 2))
def test_every_value_of_a_json_document_has_a_line(document, indent):
    """The lines are those of a document's values, all of them and no others."""
    text = json.dumps(document, indent=indent or None)

    assert set(lines.of_json(text)) == {(), *_paths(document)}


@given(tables)
def test_every_value_of_a_toml_document_has_a_line(document):
    """Also in arrays and inline tables, with keys and strings of any kind."""
    text = "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in document.items())
    assert tomllib.loads(text) == document

    assert set(lines.of_toml(text)) == _paths(document)


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(_toml(item) for item in value) + "\n]"
    return json.dumps(value).replace("\x7f", "\\u007f")


def _paths(value, path=()):
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    found = {path} if path else set()
    for step, item in items:
        found |= _paths(item, (*path, step))
    return found
