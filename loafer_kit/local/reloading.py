"""Which files of a project restart its service when they change."""

from typing import TYPE_CHECKING

from loafer_kit.exceptions import MissingExtraError

if TYPE_CHECKING:
    from watchfiles import PythonFilter

#: Beside Python's own files.
_SUFFIXES = (".ini", ".toml")


def source_files(extra: str = "reload") -> "PythonFilter":
    """Return the filter for watchfiles; raise `MissingExtraError` if the extra is not installed."""
    try:
        from watchfiles import PythonFilter  # an optional extra
    except ImportError as error:
        raise MissingExtraError("The reloader", extra) from error
    return PythonFilter(extra_extensions=_SUFFIXES)
