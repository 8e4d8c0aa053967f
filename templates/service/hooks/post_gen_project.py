"""Formats lines that are too long, and removes the folders of files that are not wanted."""

from pathlib import Path

from loafer_kit.scaffold.rendering.builtin import finish_project

finish_project(Path.cwd())
