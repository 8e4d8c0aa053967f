"""The import path of Doozer's `Application`."""

from loafer_kit.applications import Application

__all__ = ["Application"]
