"""`make demo`, without the set-up of the virtual environment."""

import os
from pathlib import Path

import programs
import pytest

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "docs" / "demo.py"


def test_the_demonstration_ends_by_itself_and_leaves_nothing(tmp_path):
    """Each message ends as announced, and nothing is left in the home or the temporary folder."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    result = programs.run(
        *("-c", f"import runpy; runpy.run_path({str(DEMO)!r}, run_name='__main__')"),
        env={**os.environ, "HOME": str(home), "TMPDIR": str(temporary)},
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    _, _, outcomes = result.stdout.partition("The end of each message.")
    assert outcomes.count("->  deleted") == 2
    assert outcomes.count("->  dead letter in loafer-test-dead") == 2
    assert not list(home.iterdir())
    assert not list(temporary.iterdir())
