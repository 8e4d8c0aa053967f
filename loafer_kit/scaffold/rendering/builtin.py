"""Renders the built-in templates in memory, with Jinja alone.

They are trusted: no sandbox, no hooks. cookiecutter writes the same bytes from them.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from loafer_kit.scaffold.project.plans import Plan
from loafer_kit.scaffold.rendering import formatting
from loafer_kit.scaffold.rendering.filters import QuotingExtension
from loafer_kit.scaffold.rendering.templates import File, Template

# Separates the paths that are rendered as one text, the template `_PATHS`; none holds it.
_SEPARATOR = "\0"
_PATHS = "\0paths"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A project: the name of its folder, its files, and the answers it was made from.

    `notes` name what a template made and a project cannot hold.
    """

    folder: str
    plan: Plan
    answers: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def render(template: Template, variables: Mapping[str, Any]) -> Rendered:
    """The project that a built-in template makes of its variables.

    Only the files that the project gets are compiled, once in each process.
    """
    sources = {f"{template.project}/{path}": path for path in template.below(template.project)}
    environment = _environment(tuple(template.files.items()))
    paths = environment.get_template(_PATHS).render(cookiecutter=variables)
    folder, *rendered = paths.split(_SEPARATOR)
    files, executables = {}, set()
    for source, path in zip(sources, rendered, strict=True):
        place = path.removeprefix(f"{folder}/")
        if not place.rpartition("/")[2]:  # a file that this project does not get
            continue
        file = template.files[source]
        content = file.content.replace(b"\r\n", b"\n")
        if b"{" in content:
            text = environment.get_template(sources[source]).render(cookiecutter=variables)
            content = text.encode()
        files[place] = formatting.finish(place, content, is_formatted=True)
        if file.executable:
            executables.add(place)
    return Rendered(folder, Plan(files, frozenset(executables)))


@functools.lru_cache
def _environment(files: tuple[tuple[str, File], ...]) -> Environment:
    """The environment that cookiecutter makes of the template's `cookiecutter.json`."""
    template = Template(dict(files))
    project = template.below(template.project)
    paths = [template.project, *(f"{template.project}/{path}" for path in project)]
    sources = template.below("templates") | project
    sources[_PATHS] = File(_SEPARATOR.join(paths).encode())
    return Environment(  # noqa: S701 - no HTML is written
        undefined=StrictUndefined,
        loader=FunctionLoader(lambda name: sources[name].content.decode()),
        extensions=[QuotingExtension],
        keep_trailing_newline=True,
        **template.variables["_jinja2_env_vars"],
    )
