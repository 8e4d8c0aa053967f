"""Where the templates are: beside the modules when installed, in `templates/` in a checkout."""

from pathlib import Path

from loafer_kit.exceptions import ConfigurationError

_PACKAGE = Path(__file__).resolve().parents[1]


def locate(name: str) -> Path:
    """The folder of one of our own templates."""
    for folder in (_PACKAGE / "templates", _PACKAGE.parent / "templates"):
        if (folder / name / "cookiecutter.json").is_file():
            return folder / name
    raise ConfigurationError(f"the template {name!r} is not where loafer-kit is installed")
