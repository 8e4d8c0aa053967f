"""Which files of a project restart its service when they change, and what watches them."""

from types import ModuleType
from typing import TYPE_CHECKING

from loafer_kit.exceptions import MissingExtraError

if TYPE_CHECKING:
    from watchfiles import PythonFilter

#: Beside Python's own files.
_SUFFIXES = (".ini", ".toml")


def load_watchfiles(extra: str = "reload") -> ModuleType:
    """Return the module; raise `MissingExtraError` if the extra is not installed."""
    try:
        import watchfiles  # an optional extra
    except ImportError as error:
        raise MissingExtraError("The reloader", extra) from error
    return watchfiles


def source_files() -> "PythonFilter":
    """Return the filter for watchfiles."""
    found: PythonFilter = load_watchfiles().PythonFilter(extra_extensions=_SUFFIXES)
    return found
