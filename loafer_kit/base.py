"""The path under which Doozer's users import `Application`."""

from loafer_kit.applications import Application

__all__ = ["Application"]
