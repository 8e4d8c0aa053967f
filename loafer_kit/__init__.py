"""loafer_kit: write, run and operate services that live on queues."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loafer_kit.applications import Application
    from loafer_kit.exceptions import Abort
    from loafer_kit.extensions import Extension
    from loafer_kit.managers import LoaferManager

__all__ = ["Abort", "Application", "Extension", "LoaferManager", "__version__"]

__version__ = "0.1.0"

# Imported on first use: every command imports this package.
_HOMES = {
    "Abort": "loafer_kit.exceptions",
    "Application": "loafer_kit.applications",
    "Extension": "loafer_kit.extensions",
    "LoaferManager": "loafer_kit.managers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
