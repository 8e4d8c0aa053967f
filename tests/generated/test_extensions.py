"""Generated extensions pass linters, mypy and their own tests, and work in a service."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loafer_kit.local import LocalQueues

pytestmark = pytest.mark.slow

EXTENSIONS = {
    "bare": [],
    "settings": ["--setting", "URL=redis://localhost", "--setting", "TIMEOUT=5"],
    "required": ["--required", "PASSWORD", "--consumer"],
    "everything": [
        *("--setting", 'ODD=`|"{{ 1 }}"{% raw %}\\\n', "--required", "USER", "--required"),
        *("PASSWORD", "--consumer", "--cli"),
    ],
}
RUFF = shutil.which("ruff", path=Path(sys.executable).parent) or "ruff"


def run(*command, cwd, **environment):
    """Run a module of this Python; fail with its output if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", EXTENSIONS.values(), ids=EXTENSIONS)
def test_an_extension_is_clean_and_passes_its_own_tests(checkout, tmp_path, arguments):
    """black, ruff, mypy --strict and its own tests pass."""
    judge(checkout, tmp_path, arguments)


def test_an_installed_wheel_writes_the_same(wheel, tmp_path):
    """With all options, from the templates in the wheel."""
    judge(wheel, tmp_path, EXTENSIONS["everything"])


def judge(installation, folder, arguments):
    """Write an extension, and run the tools and its own tests."""
    installation.run("loafer_kit", "new", "extension", "my-redis", *arguments, cwd=folder)
    project = folder / "loafer-kit-my-redis"
    installation.run("black", "--check", ".", cwd=project)
    subprocess.run([RUFF, "check", "--no-cache", "."], cwd=project, check=True)
    installation.run("mypy", cwd=project)
    installation.run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", cwd=project)


def test_without_a_name_and_a_terminal_the_default_is_used(tmp_path):
    """And said."""
    output = run("loafer_kit", "new", "extension", cwd=tmp_path)
    assert output.startswith("No name was given: the extension is named my-extension.\n")
    assert (tmp_path / "loafer-kit-my-extension/pyproject.toml").is_file()


def test_an_existing_folder_is_not_touched(tmp_path):
    """Without `--force`, where it holds anything."""
    folder = tmp_path / "loafer-kit-redis"
    folder.mkdir()
    (folder / "notes").touch()
    with pytest.raises(AssertionError, match="exists and was not touched"):
        run("loafer_kit", "new", "extension", "redis", cwd=tmp_path)
    assert list(folder.iterdir()) == [folder / "notes"]


THREE_LINES = """
from loafer_kit_redis import Redis
manager.settings["REDIS_PASSWORD"] = "secret"
redis = Redis(manager)
"""


def test_a_generated_service_uses_a_generated_extension_in_three_lines(
    tmp_path, local_server, local_queues
):
    """Its connection is open while a real message is handled, and closed afterwards."""
    queue = local_queues.fresh()
    run("loafer_kit", "new", "extension", "redis", "--required", "PASSWORD", cwd=tmp_path)
    run("loafer_kit", "new", "service", "foobar", "--queue", queue, cwd=tmp_path)
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
    output = run(
        "once",
        cwd=tmp_path / "foobar",
        PYTHONPATH=os.pathsep.join(map(str, folders)),
        **local_server.environment,
    )
    assert output.splitlines() == ["open: True", "open: False"]
    assert local_queues.counts(queue).total == 0
