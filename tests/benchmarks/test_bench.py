"""The benchmark measures a real consumer against the stub."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="costs are read from /proc")
def test_table_has_a_row_for_each_side(tmp_path):
    """A small run prints a table for each latency, with the bare loop as its own measure, and writes them."""
    written = tmp_path / "table.md"
    options = ["--sides", "bare", "--messages", "500", "--rounds", "1", "--write", str(written)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| bare")]
    assert len(rows) == 3
    for row in rows:
        assert (row[2], row[4]) == ("1.00", "1.00")
        assert 0.2 <= float(row[5]) < 0.25
    assert written.read_text() == done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="costs are read from /proc")
def test_scrapes_are_measured_idle_and_under_load():
    """Two rows of figures, and what one scrape costs."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "scrape", "--messages", "3000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[2:]] == ["| idle", "| at its limit"]
    assert all(float(figure) > 0 for row in rows[2:] for figure in row[1:3])
    assert "ms of CPU: one a second costs" in done.stdout
