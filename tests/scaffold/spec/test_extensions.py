"""From the words of `loafer-kit new extension` to the files of a project, in memory."""

import ast
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.scaffold.rendering import builtin, templates
from loafer_kit.scaffold.sources import command_line
from loafer_kit.scaffold.spec import extensions
from loafer_kit.scaffold.spec.specs import SpecError

FILES = [
    ".gitignore",
    "CHANGELOG.md",
    "README.md",
    "docs/conf.py",
    "docs/index.rst",
    "loafer_kit_redis/__init__.py",
    "loafer_kit_redis/connection.py",
    "loafer_kit_redis/extension.py",
    "loafer_kit_redis/py.typed",
    "pyproject.toml",
    "tests/test_extension.py",
]


def rendered(name="redis", settings=(), required=(), **keywords):
    spec = extensions.extension(name, settings, required, **keywords)
    plan = builtin.render(templates.builtin("extension"), spec).plan
    return {path: content.decode() for path, content in plan.files.items()}


def defaults(settings):
    spec = extensions.extension("redis", settings, [])
    return [setting["default"] for setting in spec["settings"]]


def problems(*arguments):
    with pytest.raises(SpecError) as caught:
        extensions.extension(*arguments)
    return [str(problem) for problem in caught.value.problems]


def literal(source, name):
    """The value that is assigned to `name` in a class."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and node.target.id == name:
            return ast.literal_eval(node.value)
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "project", "package", "class_name"),
    [
        ("redis", "loafer-kit-redis", "loafer_kit_redis", "Redis"),
        ("loafer-kit-redis", "loafer-kit-redis", "loafer_kit_redis", "Redis"),
        ("loafer_kit_redis", "loafer-kit-redis", "loafer_kit_redis", "Redis"),
        ("SQLite", "loafer-kit-sqlite", "loafer_kit_sqlite", "SQLite"),
        ("my-extension", "loafer-kit-my-extension", "loafer_kit_my_extension", "MyExtension"),
        ("a.b_c", "loafer-kit-a-b-c", "loafer_kit_a_b_c", "ABC"),
    ],
)
def test_names(name, project, package, class_name):
    """The package never hides the library that the extension is for."""
    spec = extensions.extension(name, [], [])
    assert (spec["name"], spec["package"], spec["class_name"]) == (project, package, class_name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "cannot name a project"),
        ("../redis", "cannot name a project"),
        ("{{ 1 }}", "cannot name a project"),
        ("re\ndis", "cannot name a project"),
        ("loafer-kit", "a letter must come first"),
        ("3d", "a letter must come first"),
        ("extension", "named Extension, which is already in use"),
        ("loafer-manager", "named LoaferManager, which is already in use"),
        ("exception", "named Exception, which is already in use"),
        ("none", "named None, which is already in use"),
    ],
)
def test_names_that_cannot_be(name, why):
    """One line says why."""
    (problem,) = problems(name, [], [])
    assert why in problem


def test_settings_get_the_prefix_once():
    """`URL`, `url` and `REDIS_URL` are the same."""
    spec = extensions.extension("redis", ["url=a", "REDIS_PORT=b"], ["password"])
    assert [setting["name"] for setting in spec["settings"]] == ["REDIS_URL", "REDIS_PORT"]
    assert spec["required"] == ["REDIS_PASSWORD"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("text", "text"),
        ("a=b", "a=b"),
        ("5", 5),
        ('"5"', "5"),
        ("0.5", 0.5),
        ("true", True),
        ("null", "null"),
        ("[1]", "[1]"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("[" * 100_000, "[" * 100_000),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_defaults_have_types(text, value):
    """Numbers and truth values as JSON writes them; quotes make a text of them."""
    (default,) = defaults([f"A={text}"])
    assert (type(default), default) == (type(value), value)


def test_all_problems_at_once():
    """Each with its place."""
    assert len(problems("extension", ["a", "b=1", "B=2", "ä=1"], ["b", "c-d"])) == 6


def test_the_files_of_an_extension():
    """The package, its tests, its docs, and what publishes it."""
    assert sorted(rendered()) == FILES


@pytest.mark.parametrize(
    ("like", "added"),
    [
        ("resource", set()),
        ("consumer", {"loafer_kit_redis/consumer.py", "tests/test_consumer.py"}),
        ("provider", {"loafer_kit_redis/provider.py", "tests/test_provider.py"}),
        ("middleware", {"loafer_kit_redis/middleware.py", "tests/test_middleware.py"}),
    ],
)
def test_the_kind_decides_what_is_added(like, added):
    """Middleware has no connection."""
    connection = {"loafer_kit_redis/connection.py", "tests/test_extension.py"}
    expected = set(FILES) | added
    assert set(rendered(like=like)) == (expected - connection if like == "middleware" else expected)
    assert rendered(consumer=True) == rendered(like="consumer")


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        (
            {"like": "nothing"},
            "like: must be one of resource, consumer, provider, middleware, not 'nothing'",
        ),
        ({"like": ""}, "like: must be one of"),
        (
            {"like": "provider", "consumer": True},
            "like: provider and --consumer exclude each other",
        ),
    ],
)
def test_a_wrong_kind_is_refused(keywords, text):
    with pytest.raises(SpecError, match=text):
        extensions.extension("redis", [], [], **keywords)


def test_consumer_and_commands_only_when_asked_for():
    """Nothing of them otherwise."""
    bare = rendered()
    assert "onsumer" not in bare["loafer_kit_redis/extension.py"] + bare["README.md"]
    assert "register_cli" not in bare["loafer_kit_redis/extension.py"]
    whole = rendered(consumer=True, cli=True)
    assert set(whole) - set(bare) == {
        "loafer_kit_redis/commands.py",
        "loafer_kit_redis/consumer.py",
        "tests/test_commands.py",
        "tests/test_consumer.py",
    }


def test_what_no_setting_needs_is_not_tested():
    """No test that looks at nothing, and none of what is there left untested."""
    bare, whole = rendered(), rendered(settings=["URL=x"], required=["PASSWORD"])
    path = "tests/test_extension.py"
    of_settings = {"test_defaults_are_applied", "test_the_services_settings_win"}
    of_required = {"test_missing_settings_are_reported"}
    assert names_of_tests(whole[path]) - names_of_tests(bare[path]) == of_settings | of_required
    assert "SETTINGS" not in bare[path]


def names_of_tests(source):
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def test_the_readme_installs_a_module_before_it_runs_it():
    """Also those that build and upload what is published."""
    project = rendered()
    installed = set(
        tomllib.loads(project["pyproject.toml"])["project"]["optional-dependencies"]["dev"]
    )
    for line in project["README.md"].splitlines():
        if line.startswith("$ pip install "):
            installed.update(line.split()[3:])
        elif line.startswith("$ python -m "):
            assert line.split()[3] in installed
    assert {"loafer-kit-redis", "build"} <= installed


def test_the_title_of_the_documentation_is_underlined():
    """As long as it is, and no longer."""
    title, line, *_ = rendered("my-extension")["docs/index.rst"].splitlines()
    assert (title, line) == ("MyExtension", "===========")


def test_the_entry_point_names_the_class():
    """Other tools find the extension by it."""
    project = tomllib.loads(rendered("my-extension")["pyproject.toml"])["project"]
    assert project["entry-points"]["loafer_kit.extensions"] == {
        "myextension": "loafer_kit_my_extension:MyExtension"
    }


def test_the_same_words_give_the_same_bytes():
    """Nothing of the day or the machine is in a project."""
    assert rendered(settings=["A=1"], cli=True) == rendered(settings=["A=1"], cli=True)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.sampled_from(["{{ 1 }}", "{% raw %}", '"""', "\u2028", "`|`", "\\", "'"]))
def test_any_default_arrives_as_it_is(text):
    """Quotes, newlines, templates: a default is data in every file."""
    project = rendered(settings=[f"TEXT={text}"])
    (default,) = defaults([f"TEXT={text}"])
    found = literal(project["loafer_kit_redis/extension.py"], "DEFAULT_SETTINGS")
    assert found == {"REDIS_TEXT": default}
    (row,) = [line for line in project["README.md"].splitlines() if "REDIS_TEXT" in line]
    assert row.isascii()


class Person:
    """Answers one after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.told = []

    def ask(self, question, default):
        self.asked.append((question, default))
        return self.answers.pop(0) or default

    def tell(self, text):
        self.told.append(text)


def test_the_name_is_asked_for_until_it_can_be_one():
    """With the default that is used where nobody can be asked."""
    person = Person("3d", "extension", "redis")
    assert command_line.name_of_extension(person) == "redis"
    assert person.asked == [("Name of the extension", extensions.DEFAULT_NAME)] * 3
    assert len(person.told) == 2
    assert command_line.name_of_extension(Person("")) == extensions.DEFAULT_NAME
