"""Time the scaffold beside cookiecutter and copier: `python -m benchmarks.scaffold`.

Whole processes, each job in turn with the others, on a template of the same files: the project
that loafer_kit writes, as a template of theirs.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

ROUNDS = 9
NEW = ["new", "service", "foobar", "--queue", "loafer-test"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        peers = work / "peers"
        venv.create(peers, with_pip=True)
        install = [peers / "bin/python", "-m", "pip", "install", "-q", "cookiecutter", "copier"]
        subprocess.run(install, check=True)
        _templates(work)
        _show(_measure(_jobs(peers / "bin", work), work))


def _templates(work: Path) -> None:
    """The project that loafer_kit writes, as a cookiecutter template and as a copier template."""
    subprocess.run(
        [sys.executable, "-m", "loafer_kit", *NEW], check=True, cwd=work, capture_output=True
    )
    shutil.copytree(work / "foobar", work / "cookiecutter/{{cookiecutter.name}}")
    (work / "cookiecutter/cookiecutter.json").write_text('{"name": "made"}')
    shutil.copytree(work / "foobar", work / "copier")
    (work / "copier/copier.yml").write_text("_templates_suffix: ''\n")


def _jobs(peers: Path, work: Path) -> Mapping[str, Sequence[str | Path]]:
    loafer_kit = [sys.executable, "-m", "loafer_kit"]
    return {
        "loafer-kit --help": [*loafer_kit, "--help"],
        "cookiecutter --help": [peers / "cookiecutter", "--help"],
        "copier --help": [peers / "copier", "--help"],
        "loafer-kit new service": [*loafer_kit, *NEW, "--output-dir", work / "out"],
        "cookiecutter": [
            peers / "cookiecutter",
            "--no-input",
            "-o",
            work / "out",
            work / "cookiecutter",
        ],
        "copier copy": [peers / "copier", "copy", "-q", work / "copier", work / "out"],
    }


def _measure(jobs: Mapping[str, Sequence[str | Path]], work: Path) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in jobs}
    environment = os.environ | {"HOME": str(work)}
    for _ in range(ROUNDS):
        for name, command in jobs.items():
            shutil.rmtree(work / "out", ignore_errors=True)
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            times[name].append(time.perf_counter() - start)
    return times


def _show(times: Mapping[str, Sequence[float]]) -> None:
    print("| command | median ms | minimum ms |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {1000 * statistics.median(seconds):.0f} | {1000 * min(seconds):.0f} |")


if __name__ == "__main__":
    main()
