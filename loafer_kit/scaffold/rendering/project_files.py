"""The files that a template makes of its variables.

It reads templates as cookiecutter's `generate_files` does, with which tests compare it. That cannot
be used itself: it renders outside a sandbox, and writes wherever a rendered name leads.
"""

import os
from collections.abc import Iterable
from fnmatch import fnmatch

from jinja2 import Environment

from loafer_kit.scaffold.project.plans import refuse_clashes, refuse_reserved
from loafer_kit.scaffold.rendering.template_files import File
from loafer_kit.scaffold.rendering.templates import Template
from loafer_kit.scaffold.rendering.variables import Values


def files(template: Template, environment: Environment, values: Values) -> dict[str, File]:
    """Every file of a project by its path; ConfigurationError for a path where it cannot be.

    A file or a folder whose name comes out empty is left out. Where two have one place, the later
    one in the order of a walk stays.
    """
    copied = values.get("_copy_without_render", [])
    patterns = [str(item) for item in copied] if isinstance(copied, list) else []
    made: dict[str, File] = {}
    for source, file in sorted(template.below(template.project).items(), key=_walked):
        start, is_copied = _copied(source, patterns)
        parts = [name(environment, part, values) for part in start.split("/")]
        if "" in parts:  # a folder, or a file, that is not wanted
            continue
        place = "/".join(parts) + source.removeprefix(start)
        refuse_reserved(place)
        if not (is_copied or file.text is None):
            text = environment.get_template(source).render(cookiecutter=values)
            file = File(_with_line_ends(text, file, values), file.executable)  # noqa: PLW2901
        made[place] = file
    refuse_clashes(made)
    return made


def _walked(item: tuple[str, File]) -> list[tuple[bool, str]]:
    """The order of a walk: a folder's files, then its folders."""
    *folders, name = item[0].split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def _copied(path: str, patterns: Iterable[str]) -> tuple[str, bool]:
    """The part of a path that is rendered, and whether the file is copied as it is."""
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        start = "/".join(parts[:end])
        if any(fnmatch(start.replace("/", os.sep), pattern) for pattern in patterns):
            return start, True
    return path, False


def name(environment: Environment, source: str, values: Values) -> str:
    """The name of a file or folder that a template's own name for it makes."""
    marks = (environment.variable_start_string, environment.block_start_string)
    if not any(mark in source for mark in (*marks, environment.comment_start_string)):
        return source
    # Quoting is for what stands in a file; where a path leads is checked when it is whole.
    unquoted = environment.overlay(finalize=None)
    return unquoted.from_string(source).render(cookiecutter=values)


def _with_line_ends(text: str, file: File, values: Values) -> bytes:
    """The text with the line ends that the template asks for, else with those that the file has."""
    wanted = values.get("_new_lines")
    if not isinstance(wanted, str) or not wanted:
        is_crlf = 0 < file.content.count(b"\r\n") == file.content.count(b"\n")
        wanted = "\r\n" if is_crlf else "\n"
    return text.replace("\r\n", "\n").replace("\n", wanted).encode()
