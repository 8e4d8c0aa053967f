"""The page about the process lists what concerns a process as a whole."""

import re
from pathlib import Path

from loafer_kit.config import PROCESS_VARIABLES

PAGE = (Path(__file__).parents[2] / "docs/reference/process.md").read_text()
SOURCES = "".join(
    path.read_text() for path in (Path(__file__).parents[2] / "loafer_kit").rglob("*.py")
)


def test_every_variable_is_listed_and_read_somewhere():
    """One that the code does not know would set nothing."""
    listed = set(re.findall(r"^\| `(LOAFER_[A-Z_]+)` ", PAGE, re.MULTILINE))
    assert listed == set(PROCESS_VARIABLES)
    for name in listed:
        assert f'"{name}"' in SOURCES.replace(f'    "{name}",\n', "", 1), name


def test_every_signal_that_the_code_handles_is_listed():
    handled = set(re.findall(r"SIG(TERM|INT|TSTP|CONT|USR1|HUP|TTIN|TTOU)\b", SOURCES))
    listed = set(re.findall(r"\b[A-Z]{3}[A-Z0-9]*\b", PAGE.partition("## Signals")[2]))
    assert handled <= listed
