"""Projects whose files nobody wrote like that: each command ends well, or says which file it is."""

import shutil

import pytest
from kept_projects import content, loafer_kit, replace

pytestmark = pytest.mark.slow

ROUTE = "from loafer_kit.ext.aws import SQSRoute\n\nroutes = (SQSRoute({}),)\n"
CODE = {
    "a name of 3,000 parts": "x = a" + ".b" * 3000,
    "a handler of 3,000 parts": ROUTE.format('"orders", handler=a' + ".b" * 3000),
    "a service of 3,000 parts": "app = LoaferManager" + "().b" * 900 + "()",
    "a sum of 3,000 parts": "x = " + "1 + " * 3000 + "1",
    "a queue of 1,000 parts": ROUTE.format('"a" + ' * 1000 + '"b"'),
    "2,000 alternatives": "if a:\n    x = 1\n" + "elif a:\n    x = 1\n" * 2000,
    "5,000 brackets": "x = " + "[" * 5000 + "]" * 5000,
    "150 brackets": "x = " + "[" * 150 + "]" * 150,
    "5,000 signs": "x = " + "-" * 5000 + "1",
    "2,000 lambdas": "x = " + "lambda: " * 2000 + "1",
    "200 levels": "".join(" " * n + "if a:\n" for n in range(200)) + " " * 200 + "pass",
    "a NUL": "x = 1\0",
    "no encoding": "# coding: nonsense\nx = 1\n",
    "another encoding": "# coding: latin-1\nx = 'caf\xe9'\n".encode("latin-1"),
    "UTF-16": "x = 1\n".encode("utf-16"),
    "no text": b"\xff\xfe\x80",
    "a table with a list for its key": ROUTE.format('{[]: 1}, {"options": {[]: {}}}'),
    "a number without an end": ROUTE.format(f'"orders", prefetch=0x{"f" * 10_000}'),
    "a half of a surrogate": ROUTE.format(r'"\ud800", handler="a.\ud800"'),
}
COMMANDS = [
    ["check"],
    ["add", "queue", "b"],
    ["add", "handler", "on_b"],
    ["add", "extension", "loafer_kit_redis:Redis"],
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    done = loafer_kit("new", "service", "foobar", "--queue", "orders", "--output-dir", folder)
    assert done.code == 0
    return folder / "foobar"


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "foobar")
    monkeypatch.chdir(tmp_path / "foobar")
    return tmp_path / "foobar"


@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_code_that_nobody_wrote_like_that(project, code):
    """In every Python file: what cannot be read, or added to, is named; nothing is half done."""
    for file in project.rglob("*.py"):
        file.write_bytes(code if isinstance(code, bytes) else code.encode())

    for command in COMMANDS:
        before = content(project)
        done = loafer_kit(*command)
        assert done.code == 0 or ".py" in done.error + done.output, command
        assert done.code == 0 or content(project) == before


SETTINGS = {
    "deep lists": ("", "a = " + "[" * 5000 + "]" * 5000),
    "deep tables": ("", "a = " + "{a = " * 3000 + "1" + "}" * 3000),
    "a deep key": ("", "a." * 300 + "a = 1"),
    "a number without an end": ("wait_time = 1", "wait_time = 0x" + "f" * 10_000),
    "a NUL": ("orders", "orders\0"),
    "no text": ("orders", "\udcff"),
    "a half of a surrogate": ("orders", r"\ud800"),
    "a queue that is none": ("[[queues]]", "[queues]"),
}


@pytest.mark.parametrize(("old", "new"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_nobody_wrote_like_that(project, old, new):
    """Whoever reads them says that it is them."""
    file = project / "loafer.toml"
    replace(file, 'name = "orders"', 'name = "orders"\nwait_time = 1')
    text = file.read_text()
    text = text.replace(old, new) if old else f"{new}\n{text}"
    file.write_bytes(text.encode(errors="surrogateescape"))
    before = content(project)

    for command in (*COMMANDS, ["update"], ["doctor"], ["dev", "--once"]):
        done = loafer_kit(*command)
        assert done.code == 1, command
        assert "loafer.toml: " in done.error + done.output, command
    assert content(project) == before
