"""The real `cookiecutter` command on the built-in templates, beside `loafer-kit new`."""

import pytest
from click.testing import CliRunner
from cookiecutter.cli import main
from cookiecutter.config import DEFAULT_CONFIG
from kept_projects import loafer_kit

from loafer_kit.scaffold.rendering import answers, builtin, contexts, templates

SERVICES = {
    "defaults": {"name": "foobar", "queue": "loafer-test", "with": ""},
    "dead letters": {
        "name": "Mixed-Bag",
        "queue": "orders.fifo,dead_letter_queue=orders-dlq.fifo,error_handler=on_error,wait_time=3",
        "with": "ci,terraform",
    },
    "topic and long lines": {
        "name": "news",
        "queue": f"{'a-queue-with-a-long-name-' * 3}x,topic=news-topic,translator=News",
        "with": "ci,compose,cloudformation,sam,terraform,kubernetes,ecs,lambda",
    },
}
EXTENSIONS = {
    "defaults": {"name": "my-extension", "settings": "", "required": ""},
    "everything": {
        "name": "redis",
        "settings": """URL=redis://localhost 'ODD=`|"$x' TIMEOUT=1.5""",
        "required": "PASSWORD USER",
        "consumer": "yes",
        "cli": "yes",
    },
    "provider": {"name": "redis", "settings": "", "required": "USER", "like": "provider"},
    "middleware": {"name": "redis", "settings": "UNIT=s", "required": "", "like": "middleware"},
}
HOSTILE = [
    {"name": 'a"b'},
    {"name": "a\nb"},
    {"name": "{{ 7 * 7 }}"},
    {"queue": "orders'); import os  # "},
    {"queue": "orders\n,handler=x"},
    {"queue": "{{ cycler.__init__.__globals__.os.mkdir('executed') }}"},
    {"with": "{% set x = cookiecutter.__class__.__mro__ %}"},
    {"with": "../x"},
]


@pytest.fixture
def cookiecutter(tmp_path, monkeypatch):
    """Run `cookiecutter` on a built-in template; without values it asks for them."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setitem(DEFAULT_CONFIG, "replay_dir", str(home / "replay"))  # not of this home yet
    monkeypatch.chdir(tmp_path)

    def run(template, values=None, **keywords):
        options = [] if values is None else ["--no-input"]
        answers = [f"{key}={value}" for key, value in (values or {}).items()]
        return CliRunner().invoke(
            main, [*options, str(templates.locate(template)), *answers], **keywords
        )

    return run


def written(project):
    """The files of a project by their paths; an empty folder is a path too."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes() if path.is_file() else None
        for path in project.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


@pytest.mark.parametrize("values", SERVICES.values(), ids=SERVICES)
def test_a_service_is_the_same(cookiecutter, tmp_path, values):
    """As rendered in memory, byte by byte, with no empty folder."""
    spec = answers.service(values)

    done = cookiecutter("service", values)

    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    expected = builtin.render(templates.builtin("service"), contexts.service(spec))
    assert written(tmp_path / expected.folder) == expected.plan.files


@pytest.mark.parametrize("values", EXTENSIONS.values(), ids=EXTENSIONS)
def test_an_extension_is_the_same(cookiecutter, tmp_path, values):
    """As rendered in memory, byte by byte."""
    flags = {key: values.get(key) == "yes" for key in ("consumer", "cli")}
    spec = answers.extension({"like": "resource"} | values | flags)

    done = cookiecutter("extension", values)

    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    expected = builtin.render(templates.builtin("extension"), spec)
    assert written(tmp_path / expected.folder) == expected.plan.files


def test_the_questions_are_asked(cookiecutter, tmp_path):
    """An empty answer stands for the default."""
    done = cookiecutter("service", input="shop\norders,concurrency=5\n\n")

    assert done.exit_code == 0, done.stderr
    assert "Name of the service (foobar)" in done.stdout
    assert "concurrency=5" in (tmp_path / "shop/shop/routes.py").read_text()


@pytest.mark.parametrize("values", HOSTILE, ids=str)
def test_a_hostile_answer_is_refused_in_one_line(cookiecutter, tmp_path, values):
    """It is not rendered, and nothing is written."""
    done = cookiecutter("service", values)

    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 1, done.stdout
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_loafer_kit_takes_the_project_over(cookiecutter, tmp_path):
    """cookiecutter writes no lock; `new service` with the project's own spec adds it."""
    assert cookiecutter("service", SERVICES["defaults"]).exit_code == 0
    project = tmp_path / "foobar"
    assert not (project / ".loafer-kit").exists()
    before = written(project)

    made = loafer_kit(
        *("new", "service", "--spec", project / "loafer.toml", "--output-dir", tmp_path)
    )

    assert made.code == 0
    assert loafer_kit("update", "--check", project).code == 0
    after = written(project)
    assert after.pop(".loafer-kit/lock.json")
    assert after == before
