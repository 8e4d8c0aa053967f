"""The source that is kept: a spec file in TOML, YAML or JSON."""

from pathlib import Path

from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec.drafts import Draft

_FORMATS = {**documents.TOML, **documents.SPEC_YAML, **documents.JSON}
#: How the name of a spec file ends.
SUFFIXES = tuple(_FORMATS)


def read(path: Path) -> Draft:
    """The draft in a file; its format is told by the file's suffix."""
    document = documents.read(path, _FORMATS, what="a spec file")
    return Draft(document.values, document.origin, document.line)
