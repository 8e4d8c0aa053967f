"""Renders the built-in templates in memory, with Jinja alone, and finishes their files.

They are trusted: no sandbox, no hooks. cookiecutter writes the same bytes from them.
"""

import ast
import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined

from loafer_kit.scaffold.project.plans import Plan
from loafer_kit.scaffold.rendering.filters import QuotingExtension
from loafer_kit.scaffold.rendering.templates import File, Template

# Separates the paths that are rendered as one text, the template `_PATHS`; none holds it.
_SEPARATOR = "\0"
_PATHS = "\0paths"

_DEEPEST_YAML = 100
# Black's own default.
_LINE_LENGTH = 88


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
        files[place] = finish(place, content, is_formatted=True)
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


def finish(path: str, content: bytes, *, is_formatted: bool = False) -> bytes:
    """The file's final bytes; ValueError, with the path as a note, if it does not parse.

    With `is_formatted` the Python is known to be as black writes it, apart from lines that are
    too long: black is imported only for these.
    """
    suffix = PurePosixPath(path).suffix
    try:
        if suffix == ".py":
            return _python(content.decode(), is_formatted=is_formatted).encode()
        if suffix in _PARSERS:
            _PARSERS[suffix](content.decode())
    except Exception as error:
        error.add_note(path)
        raise
    return content


def finish_project(folder: Path) -> None:
    """Finish the files that cookiecutter wrote from a built-in template, and remove empty folders.

    The templates' `post_gen_project` hooks call it.
    """
    for place in sorted(folder.rglob("*"), reverse=True):
        if place.is_dir():
            if not any(place.iterdir()):
                place.rmdir()
        else:
            content = place.read_bytes()
            finished = finish(place.name, content, is_formatted=True)
            if finished != content:
                place.write_bytes(finished)


@functools.lru_cache  # `add` and `update` render most files of a project twice
def _python(text: str, *, is_formatted: bool) -> str:
    ast.parse(text)
    if is_formatted and all(len(line) <= _LINE_LENGTH for line in text.split("\n")):
        return text
    import black

    return black.format_str(text, mode=black.Mode())


def _parse_yaml(text: str) -> None:
    depth = 0
    try:
        # Without libyaml, the time that PyYAML takes grows with the depth.
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST_YAML:
                raise ValueError("lists and tables are too deep in each other")
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


_PARSERS: Mapping[str, Callable[[str], object]] = {
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}
