"""Renders a template of loafer-kit in memory: it is trusted, and needs none of cookiecutter's imports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

from loafer_kit.scaffold.project.plans import Plan, refuse_clashes, refuse_reserved
from loafer_kit.scaffold.rendering import formatting
from loafer_kit.scaffold.rendering.contexts import Context
from loafer_kit.scaffold.rendering.templates import File, Template

_DEEPEST = 100


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
    """The project that a template of loafer-kit makes of a context. Values stay literal."""
    values = {**template.variables, **plain(context)}
    environment = _environment(template)
    # Quoting is for what stands in a file; where a path leads is checked when it is whole.
    unquoted = environment.overlay(finalize=None)
    files: dict[str, File] = {}
    for source, file in template.below(template.project).items():
        parts = [
            unquoted.from_string(part).render(cookiecutter=values) for part in source.split("/")
        ]
        if "" in parts:  # a folder, or a file, that is not wanted
            continue
        text = environment.get_template(source).render(cookiecutter=values)
        files["/".join(parts)] = File(text.encode(), file.executable)
    folder = unquoted.from_string(template.project).render(cookiecutter=values)
    return Rendered(folder, plan(files, template.purpose), {})


def plan(files: Mapping[str, File], purpose: str | None) -> Plan:
    """The plan that writes these files; those of a template for loafer-kit are formatted first.

    ConfigurationError for a path where a template's file cannot be.
    """
    for path in files:
        refuse_reserved(path)
    refuse_clashes(files)
    contents = {
        path: file.content if purpose is None else _finished(path, file.content)
        for path, file in files.items()
    }
    return Plan(contents, frozenset(path for path, file in files.items() if file.executable))


def _environment(template: Template) -> Environment:
    sources = {**template.below("templates"), **template.below(template.project)}
    return Environment(  # noqa: S701 - what is rendered are source files, not HTML
        undefined=StrictUndefined,
        loader=DictLoader({path: file.content.decode() for path, file in sources.items()}),
        extensions=template.variables["_extensions"],
        keep_trailing_newline=True,
        **template.variables["_jinja2_env_vars"],
    )


def _finished(path: str, content: bytes) -> bytes:
    try:
        return formatting.finish(path, content)
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
