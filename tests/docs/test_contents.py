"""The tables of contents lead to every page."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

#: The first page, and what others include.
_PARTS = {"index", "benchmarks-table", "scaffold-benchmarks-table"}


def test_every_page_is_in_a_table_of_contents():
    """A page that no table names is found by nobody."""
    listed = set()
    for page in DOCS.rglob("*.md"):
        for table in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            for name in table.split("\n\n", 1)[1].split():
                found = page.parent.glob(f"{name}.md")
                listed |= {path.relative_to(DOCS).with_suffix("").as_posix() for path in found}

    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")}
    assert pages - listed == _PARTS
