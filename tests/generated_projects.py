"""What developers of generated projects run on them: black, ruff, mypy, and the projects' tests."""

import fcntl
import os
from pathlib import Path

import programs


def assert_clean(*projects):
    """Have black and ruff check all projects at once, and mypy each, strict, with its own settings."""
    for command in (["black", "--check"], ["ruff", "check", "--no-cache"]):
        _run("-m", *command, *projects, folder=projects[0].parent)
    cache = Path(os.environ["MYPY_CACHE_DIR"])
    cache.mkdir(parents=True, exist_ok=True)
    for project in projects:
        with (cache / "lock").open("w") as lock:  # or several find out the same at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            _run("-m", "mypy", "--strict", folder=project)


def run_tests(*projects, **environment):
    """Run the tests of projects of one folder, all at once; return what pytest prints."""
    paths = [str(project) for project in projects]
    return _run(
        *("-m", "pytest", "--verbose", "--import-mode=importlib", "-p", "no:cacheprovider", *paths),
        folder=projects[0].parent,
        PYTHONPATH=os.pathsep.join(paths),
        **environment,
    )


def environment():
    """The variables of this process, without those that say where AWS is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONDONTWRITEBYTECODE": "1"}


def _run(*arguments, folder, **more):
    done = programs.run(*arguments, cwd=folder, env=environment() | more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
