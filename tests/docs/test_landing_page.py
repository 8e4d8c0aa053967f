"""The landing page, its pictures, and the night runbook."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = sorted((DOCS / "pictures").glob("*.svg"))
INDEX = (DOCS / "index.md").read_text()


def texts(picture):
    root = ET.fromstring(picture)
    return [
        " ".join("".join(element.itertext()).split())
        for element in root.iter()
        if "text" in element.tag
    ]


def test_the_program_has_twelve_lines():
    """It is short enough to be read at a glance."""
    code = re.search(r"```python\n(.*?)```", INDEX, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) == 12


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_loads_nothing_from_elsewhere(path):
    """It is shown offline, and tells nobody that it is."""
    picture = path.read_text()
    assert texts(picture)
    assert set(re.findall(r"https?://[^\"'<> )]+", picture)) <= {
        "http://www.w3.org/2000/svg"
    } | set(re.findall(r"http://127\.0\.0\.1:\d+", picture))
    assert f"pictures/{path.name}" in INDEX


def test_the_picture_shows_the_command_of_the_page():
    """The reader sees what typing it shows."""
    command = re.search(r"^\$ (loafer-kit dev .*)$", INDEX, re.MULTILINE)[1]
    shown = (DOCS / "pictures/terminal.svg").read_text()
    assert f"$ {command}" in " ".join(texts(shown)).replace("\xa0", " ")


@pytest.mark.slow
def test_the_picture_can_be_drawn_again(tmp_path):
    """By a real run of the commands; what differs are times, ids and ports."""
    target = tmp_path / "terminal.svg"
    subprocess.run([sys.executable, DOCS / "picture.py", target], check=True, timeout=110)
    drawn, kept = (
        " ".join(texts(path.read_text())) for path in (target, DOCS / "pictures/terminal.svg")
    )
    pattern = re.compile(r"dev: [a-z ]+|\w+\.\w+ing|\w+\.\w+ed|1 in orders-dead")
    assert set(pattern.findall(drawn)) == set(pattern.findall(kept))


def test_every_event_of_the_runbook_is_logged():
    """An operator at night searches for these words."""
    code = "".join(path.read_text() for path in (DOCS.parent / "loafer_kit").rglob("*.py"))
    page = (DOCS / "how-to/night-runbook.md").read_text()
    events = set(re.findall(r"`([a-z]+\.[a-z_]+)`", page)) - {"loafer.toml"}
    assert len(events) > 10
    assert [event for event in events if event not in code] == []
    for heading in ("dead-letter queue", "hangs", "throttles", "deleted", "poison", "expired"):
        assert re.search(f"^## .*{heading}", page, re.MULTILINE)
