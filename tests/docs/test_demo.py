"""`make demo`, without the set-up of the virtual environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "docs" / "demo.py"


def test_the_demonstration_ends_by_itself_and_leaves_nothing(tmp_path):
    """Each message ends as announced, and nothing is left in the home or the temporary folder."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    result = subprocess.run(
        [sys.executable, DEMO],
        env={**os.environ, "HOME": str(home), "TMPDIR": str(temporary)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    _, _, outcomes = result.stdout.partition("The end of each message.")
    assert outcomes.count("->  deleted") == 2
    assert outcomes.count("->  dead letter in loafer-test-dead") == 2
    assert not list(home.iterdir())
    assert not list(temporary.iterdir())
