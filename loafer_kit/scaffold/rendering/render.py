"""Renders a built-in template in memory, with Jinja alone.

It is trusted: it needs no sandbox, and no hook runs. cookiecutter writes the same bytes from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from loafer_kit.scaffold.project.plans import Plan, refuse_clashes, refuse_reserved
from loafer_kit.scaffold.rendering import formatting
from loafer_kit.scaffold.rendering.contexts import Context
from loafer_kit.scaffold.rendering.quoting import QuotingExtension
from loafer_kit.scaffold.rendering.templates import File, Template

_DEEPEST = 100
# Separates the paths that are rendered as one text; none holds it.
_SEPARATOR = "\0"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A project: the name of its folder, its files, and the answers they were made from.

    `notes` name what a template made and a project cannot hold.
    """

    folder: str
    plan: Plan
    answers: Mapping[str, object]
    notes: tuple[str, ...] = ()


def render(template: Template, context: Context) -> Rendered:
    """The project that a built-in template makes of its variables. Values stay literal.

    Only the files that the project gets are compiled.
    """
    values = plain(context)
    environment = _environment(template)
    sources = {f"{template.project}/{path}": path for path in template.below(template.project)}
    paths = environment.from_string(_SEPARATOR.join([template.project, *sources]))
    folder, *places = paths.render(cookiecutter=values).split(_SEPARATOR)
    files: dict[str, File] = {}
    for source, place in zip(sources, places, strict=True):
        path = place.removeprefix(f"{folder}/")
        if not path.rpartition("/")[2]:  # a file that this project does not get
            continue
        file = template.files[source]
        content = file.content.replace(b"\r\n", b"\n")
        if b"{" in content:
            text = environment.get_template(sources[source]).render(cookiecutter=values)
            content = text.encode()
        files[path] = File(content, file.executable)
    return Rendered(folder, plan(files, template.purpose, is_formatted=True), {})


def plan(files: Mapping[str, File], purpose: str | None, *, is_formatted: bool = False) -> Plan:
    """The plan that writes these files; those of a template for loafer-kit are formatted first.

    `is_formatted` is for the built-in templates, which write what black would if lines fit.
    ConfigurationError for a path where a template's file cannot be.
    """
    for path in files:
        refuse_reserved(path)
    refuse_clashes(files)
    contents = {
        path: (
            file.content
            if purpose is None
            else _finished(path, file.content, is_formatted=is_formatted)
        )
        for path, file in files.items()
    }
    return Plan(contents, frozenset(path for path, file in files.items() if file.executable))


def _environment(template: Template) -> Environment:
    sources = {**template.below("templates"), **template.below(template.project)}
    return Environment(  # noqa: S701 - what is rendered are source files, not HTML
        undefined=StrictUndefined,
        loader=FunctionLoader(lambda name: sources[name].content.decode()),
        extensions=[QuotingExtension],
        keep_trailing_newline=True,
        **template.variables["_jinja2_env_vars"],
    )


def _finished(path: str, content: bytes, *, is_formatted: bool) -> bytes:
    try:
        return formatting.finish(path, content, is_formatted=is_formatted)
    except Exception as error:
        error.add_note(path)
        raise


def plain(value: object, *, depth: int = _DEEPEST) -> Any:
    """The value, if it is made of text, numbers, lists and tables alone.

    TypeError for a richer object, whose methods a template could call; ValueError for one that is
    nested too deeply.
    """
    if not depth:
        raise ValueError("it is nested too deeply")
    if type(value) in (str, int, float, bool):
        return value
    if type(value) is list:
        return [plain(item, depth=depth - 1) for item in value]
    if type(value) is dict:
        return {str(key): plain(item, depth=depth - 1) for key, item in value.items()}
    raise TypeError(f"a template's context cannot hold a {type(value).__name__}")
