"""The documentation's Python snippets run, page by page."""

import os
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
#: The tutorial has another test.
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if "```python" in page.read_text() and page.name != "tutorial.md"
)


def snippets(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_snippets_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    """Each page is one program: later snippets use what earlier ones define."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # what a snippet sets ends with it
    namespace = {"__name__": "snippets"}
    for snippet in snippets(page):
        exec(compile(snippet, str(page), "exec"), namespace)  # noqa: S102 - our own text
