"""Time the scaffold beside cookiecutter, copier and cruft: `python -m benchmarks.scaffold`.

Whole processes, each job in turn with the others, on templates of the same files: the project that
loafer_kit writes, as a template of theirs. The update brings a changed README into a project whose
README was edited elsewhere.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.machine import machine
from loafer_kit.scaffold.rendering import templates

PEERS = ("cookiecutter", "copier", "cruft")
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
NEW = ["new", "service", "foobar", "--queue", "loafer-test"]


@dataclass(frozen=True)
class Job:
    """A command, and the project that is copied to `out` before it runs, which is not timed."""

    name: str
    command: Sequence[str | Path]
    project: Path | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", type=Path, help="a file that gets the table")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        peers = work / "peers"
        venv.create(peers, with_pip=True)
        subprocess.run([peers / "bin/python", "-m", "pip", "install", "-q", *PEERS], check=True)
        environment = _environment(work)
        jobs = _help(peers / "bin")
        jobs += _new(peers / "bin", work, environment)
        jobs += _update(peers / "bin", work, environment)
        times = _measure(jobs, work, environment, asked.rounds)
        report = f"{_table(times)}\n\n{_footer(peers / 'bin/python', asked.rounds)}"
    print(report)
    if asked.write:
        asked.write.write_text(report + "\n")


def _environment(work: Path) -> dict[str, str]:
    """A home folder for this run alone, an author for git, and bytecode as pip installs it."""
    names = {f"GIT_{role}_NAME": "A" for role in ("AUTHOR", "COMMITTER")}
    addresses = {f"GIT_{role}_EMAIL": "a@example.org" for role in ("AUTHOR", "COMMITTER")}
    inherited = {key: value for key, value in os.environ.items() if key != _NO_BYTECODE}
    return inherited | {"HOME": str(work)} | names | addresses


def _loafer_kit(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "loafer_kit", *arguments]


def _help(peers: Path) -> list[Job]:
    return [
        Job("`loafer-kit --help`", _loafer_kit("--help")),
        *(Job(f"`{peer} --help`", [peers / peer, "--help"]) for peer in PEERS),
    ]


def _new(peers: Path, work: Path, environment: Mapping[str, str]) -> list[Job]:
    """The same files from each: loafer_kit's are formatted, checked and locked besides."""
    _run(_loafer_kit(*NEW), work, environment)
    shutil.rmtree(work / "foobar/.loafer-kit")
    for name, project in (("cookiecutter", "{{cookiecutter.name}}"), ("copier", ".")):
        shutil.copytree(work / "foobar", work / name / project, dirs_exist_ok=True)
    (work / "cookiecutter/cookiecutter.json").write_text('{"name": "foobar"}')
    (work / "copier/copier.yml").write_text("_templates_suffix: ''\n")
    (work / "copier/.copier-answers.yml").write_text("{{ _copier_answers|to_nice_yaml }}")
    for name in ("cookiecutter", "copier"):
        _commit(work / name, "v1", environment)
    out = work / "out"
    cookiecutter = work / "cookiecutter"
    return [
        Job("`loafer-kit new service`", _loafer_kit(*NEW, "--output-dir", out)),
        Job("`cookiecutter`", [peers / "cookiecutter", "--no-input", "-o", out, cookiecutter]),
        Job("`copier copy`", [peers / "copier", "copy", "-q", work / "copier", out / "foobar"]),
        Job("`cruft create`", [peers / "cruft", "create", "-y", "--output-dir", out, cookiecutter]),
    ]


def _update(peers: Path, work: Path, environment: Mapping[str, str]) -> list[Job]:
    """A project of each, edited, and then a change of its template."""
    made = {
        "loafer-kit": _loafer_kit(*NEW, "--template", _own_template(work), "--trust"),
        "copier": [peers / "copier", "copy", "-q", work / "copier", work / "made/copier/foobar"],
        "cruft": [peers / "cruft", "create", "-y", work / "cookiecutter"],
    }
    for name, command in made.items():
        folder = work / "made" / name
        folder.mkdir(parents=True)
        _run(command, folder, environment)
        readme = folder / "foobar/README.md"
        readme.write_text(readme.read_text() + "\nOurs.\n")
        _commit(folder / "foobar", "edited", environment)
    for name in ("own", "cookiecutter", "copier"):
        readme = next((work / name).rglob("README.md"))
        readme.write_text(readme.read_text().replace("## Test", "## Tests"))
    for name in ("cookiecutter", "copier"):
        _commit(work / name, "v2", environment)
    out = work / "out/foobar"
    return [
        Job(
            "`loafer-kit update`",
            _loafer_kit("update", out, "--trust"),
            work / "made/loafer-kit/foobar",
        ),
        Job(
            "`copier update`",
            [peers / "copier", "update", "-q", "-l", out],
            work / "made/copier/foobar",
        ),
        Job(
            "`cruft update`",
            [peers / "cruft", "update", "-y", "--project-dir", out],
            work / "made/cruft/foobar",
        ),
    ]


def _own_template(work: Path) -> Path:
    """A copy of the built-in template, which can be changed."""
    shutil.copytree(templates.locate("service"), work / "own")
    return work / "own"


def _run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> None:
    subprocess.run(command, check=True, cwd=folder, capture_output=True, env=environment)


def _commit(folder: Path, tag: str, environment: Mapping[str, str]) -> None:
    for command in ("init -q", "add -A", f"commit -q -m {tag}", f"tag -f {tag}"):
        _run(["git", *command.split()], folder, environment)


def _measure(
    jobs: Sequence[Job], work: Path, environment: Mapping[str, str], rounds: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {job.name: [] for job in jobs}
    for _ in range(rounds):
        for job in jobs:
            shutil.rmtree(work / "out", ignore_errors=True)
            (work / "out").mkdir()
            if job.project is not None:
                shutil.copytree(job.project, work / "out/foobar")
            start = time.perf_counter()
            _run(job.command, work, environment)
            times[job.name].append(time.perf_counter() - start)
            _check(job, work)
    return times


def _check(job: Job, work: Path) -> None:
    """Make sure that the command did its work: one that does nothing is fast."""
    if job.project is None:
        done = "--help" in job.name or (work / "out/foobar/README.md").exists()
    else:
        text = (work / "out/foobar/README.md").read_text()
        done = "## Tests" in text and "Ours." in text
    if not done:
        raise RuntimeError(f"{job.name} did not do its work")


def _table(times: Mapping[str, Sequence[float]]) -> str:
    rows = ["| command | median ms | minimum ms |", "| --- | ---: | ---: |"]
    for name, seconds in times.items():
        rows.append(
            f"| {name} | {1000 * statistics.median(seconds):.0f} | {1000 * min(seconds):.0f} |"
        )
    return "\n".join(rows)


def _footer(python: Path, rounds: int) -> str:
    code = "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
    found = subprocess.run(
        [python, "-c", code, *PEERS], check=True, capture_output=True, text=True
    ).stdout.split()
    told = [f"{name} {number}" for name, number in zip(PEERS, found, strict=True)]
    told.append(f"loafer-kit {version('loafer-kit')}")
    return f"Whole processes in turn, {rounds} rounds. {machine()}; {', '.join(told)}."


if __name__ == "__main__":
    main()
