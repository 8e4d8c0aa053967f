"""Which files of a project restart its service when they change, and what watches them."""

from types import ModuleType
from typing import Any

from loafer_kit.exceptions import MissingExtraError

#: Beside Python's own files.
_SUFFIXES = (".ini", ".toml")

#: Milliseconds after which a wait for changes brings none, and begins anew.
_LOOK_EVERY = 100


def load_watchfiles(extra: str = "reload") -> ModuleType:
    """Return the module; raise `MissingExtraError` if the extra is not installed."""
    try:
        import watchfiles  # an optional extra
    except ImportError as error:
        raise MissingExtraError("The reloader", extra) from error
    return watchfiles


def watch_options() -> dict[str, Any]:
    """Return the options of watchfiles: the files to watch, and an empty batch every now and then."""
    return {
        "watch_filter": load_watchfiles().PythonFilter(extra_extensions=_SUFFIXES),
        "rust_timeout": _LOOK_EVERY,
        "yield_on_timeout": True,
    }
