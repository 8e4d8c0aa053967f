"""The tutorial, step by step, as a reader follows it."""

import os
import re
from pathlib import Path

import programs
import pytest

pytestmark = pytest.mark.slow

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
# A reader's project must pass the tools that a generated project passes.
TOOLS = ("ruff check --no-cache .", "black --check .")
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def run(command, folder, home):
    done = programs.run_command(command, cwd=folder, env=os.environ | {"HOME": str(home)})
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_the_tutorial_works_word_for_word(tmp_path):
    """Every command succeeds, and the last run has the outcomes that the text describes."""
    folder, home = tmp_path, tmp_path / "home"
    home.mkdir()
    outputs = []
    for kind, block in BLOCK.findall(TUTORIAL.read_text()):
        if kind == "python":
            place, _, code = block.partition("\n")
            (folder / place.removeprefix("# ")).write_text(code)
            continue
        for line in block.splitlines():
            command = line.removeprefix("$ ")
            if command.startswith("cd "):
                folder /= command.removeprefix("cd ")
            else:
                outputs.append(run(command, folder, home))
    last_run = outputs[-2]
    assert "order 1: one nut" in last_run
    assert last_run.count("outcome='acknowledged'") == 1
    assert last_run.count("outcome='rejected'") == 2
    assert re.search(r"message\.dead_lettered .*: nobody has it", last_run)
    assert re.search(r"message\.dead_lettered .*: InvalidPayloadError: .* number", last_run)
    assert last_run.count("outcome='to be retried after 1 s'") == 3
    assert "passed" in outputs[-1]
    assert list(home.iterdir()) == []
    for tool in TOOLS:
        run(tool, folder, home)
