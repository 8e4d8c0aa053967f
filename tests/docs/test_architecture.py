"""docs/architecture.md names only what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
TREE = PAGE.partition("```text\n")[2].partition("```")[0]


def test_every_module_in_the_text_exists():
    """A path in code font is that of a module, from the root or from a folder of loafer_kit."""
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE))
    modules = [str(path.relative_to(ROOT)) for path in (ROOT / "loafer_kit").rglob("*.py")]
    modules += [str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("*.py")]

    assert len(named) > 20
    assert [name for name in named if not any(f"/{m}".endswith(f"/{name}") for m in modules)] == []


def test_the_tree_names_every_room_and_no_other():
    """The first words of each indented line are folders or modules; a folder ends with a slash."""
    tops, inner = set(), set()
    for line in TREE.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0]
        if line.startswith("    "):
            inner.add(names)
        elif line.startswith("  "):
            tops |= {name.partition("/")[0] for name in names.split()}

    package = ROOT / "loafer_kit"
    found = {path.stem for path in package.iterdir() if path.name[0] != "_"} - {"py"}
    assert tops == found
    scaffold = package / "scaffold"
    rooms = {f"{path.name}/" for path in scaffold.iterdir() if path.is_dir()} - {"__pycache__/"}
    assert {name for name in inner if name.endswith("/")} == rooms
    assert all((scaffold / f"{name}.py").is_file() for name in inner - rooms)
