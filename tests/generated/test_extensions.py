"""Generated extensions pass linters, mypy and their own tests, and work in a service."""

import os

import pytest
from generated_projects import assert_clean, run_tests
from kept_projects import content, loafer_kit

from loafer_kit.local import LocalQueues

pytestmark = pytest.mark.slow

EXTENSIONS = {
    "bare": [],
    "provider": ["--like", "provider", "--setting", "URL=redis://localhost", "--required", "USER"],
    "middleware": ["--like", "middleware", "--setting", "TIMEOUT=5", "--cli"],
    "everything": [
        *("--setting", 'ODD=`|"{{ 1 }}"{% raw %}\\\n', "--required", "USER", "--required"),
        *("PASSWORD", "--consumer", "--cli"),
    ],
}


@pytest.mark.timeout(400)
def test_extensions_are_clean_and_pass_their_own_tests(checkout, tmp_path, monkeypatch):
    """black, ruff, mypy --strict and their own tests pass, whatever the environment sets."""
    for name in ("MY_PROVIDER_URL", "MY_PROVIDER_USER", "MY_MIDDLEWARE_TIMEOUT"):
        monkeypatch.setenv(name, "7")
    projects = [
        write(checkout, tmp_path, f"my-{kind}", arguments) for kind, arguments in EXTENSIONS.items()
    ]

    assert_clean(*projects)
    run_tests(*projects)


def test_an_installed_wheel_writes_the_same(checkout, wheel, tmp_path):
    """With all options, from the templates in the wheel; the wheel runs the extension's tests."""
    written = []
    for installation in (checkout, wheel):
        (folder := tmp_path / str(len(written))).mkdir()
        project = write(installation, folder, "my-redis", EXTENSIONS["everything"])
        written.append(content(project))

    assert written[0] == written[1]
    wheel.run("pytest", "-q", "-p", "no:cacheprovider", cwd=project)


def write(installation, folder, name, arguments):
    """Write an extension, and return its folder."""
    installation.run("loafer_kit", "new", "extension", name, *arguments, cwd=folder)
    return folder / f"loafer-kit-{name}"


def test_without_a_name_and_a_terminal_the_default_is_used(tmp_path, monkeypatch):
    """And said."""
    monkeypatch.chdir(tmp_path)
    output = loafer_kit("new", "extension").output
    assert output.startswith("No name was given: the extension is named my-extension.\n")
    assert (tmp_path / "loafer-kit-my-extension/pyproject.toml").is_file()


def test_an_existing_folder_is_not_touched(tmp_path, monkeypatch):
    """Without `--force`, where it holds anything."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "loafer-kit-redis"
    folder.mkdir()
    (folder / "notes").touch()
    done = loafer_kit("new", "extension", "redis")
    assert done.code != 0
    assert "exists and was not touched" in done.error
    assert list(folder.iterdir()) == [folder / "notes"]


THREE_LINES = """
from loafer_kit_redis import Redis
manager.settings["REDIS_PASSWORD"] = "secret"
redis = Redis(manager)
"""


def test_a_generated_service_uses_a_generated_extension_in_three_lines(
    checkout, tmp_path, local_server, local_queues, monkeypatch
):
    """Its connection is open while a real message is handled, and closed afterwards."""
    queue = local_queues.fresh()
    monkeypatch.chdir(tmp_path)
    assert loafer_kit("new", "extension", "redis", "--required", "PASSWORD").code == 0
    assert loafer_kit("new", "service", "foobar", "--queue", queue).code == 0
    module = tmp_path / "foobar/foobar/__init__.py"
    module.write_text(module.read_text() + THREE_LINES)
    (tmp_path / "foobar/once.py").write_text("""
from foobar import manager, redis

handler = manager.routes[0].handler

async def watching(*arguments):
    print("open:", redis.connection.is_open)
    return await handler(*arguments)

manager.routes[0].handler = watching
manager.run(forever=False)
print("open:", redis.connection.is_open)
""")
    LocalQueues(local_server.url).send(queue, {"key": True})
    folders = [tmp_path / "foobar", tmp_path / "loafer-kit-redis"]
    more = local_server.environment | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = checkout.run("once", cwd=tmp_path / "foobar", more=more)
    assert done.stdout.splitlines() == ["open: True", "open: False"]
    assert local_queues.counts(queue).total == 0
