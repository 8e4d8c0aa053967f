"""Sphinx configuration."""

import sys
from pathlib import Path

from loafer_kit import __version__

sys.path.insert(0, str(Path(__file__).parent / "examples"))

project = "loafer_kit"
author = "loafer_kit maintainers"
copyright = "2026, loafer_kit maintainers"  # noqa: A001 - Sphinx's name
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "loafer_kit.contrib.sphinx"]
exclude_patterns = ["_build", "benchmarks-table.md", "scaffold-benchmarks-table.md"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
html_theme = "furo"
html_title = f"loafer_kit {release}"
