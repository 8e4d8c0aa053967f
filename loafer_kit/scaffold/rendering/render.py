"""From a template and a context to a project, all in memory."""

import copy
import json
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import NoneType
from typing import Any

from jinja2 import Environment, TemplateSyntaxError

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import in_one_line
from loafer_kit.scaffold.project.plans import Plan, refuse_reserved
from loafer_kit.scaffold.rendering import (
    builtin,
    formatting,
    memory,
    project_files,
    sandbox,
    template_files,
    trust,
    variables,
)
from loafer_kit.scaffold.rendering.builtin import Rendered
from loafer_kit.scaffold.rendering.contexts import Context
from loafer_kit.scaffold.rendering.template_files import File
from loafer_kit.scaffold.rendering.templates import Template
from loafer_kit.scaffold.rendering.trust import Leave
from loafer_kit.scaffold.rendering.variables import Ask, Values
from loafer_kit.scaffold.spec import names

_DEEPEST = 100
# What Jinja calls a text that is no file: here the name of one, or a variable's default.
_NAME = "<template>"


def render(
    template: Template,
    context: Context,
    *,
    answers: Values | None = None,
    ask: Ask | None = None,
    leave: Leave | None = None,
) -> Rendered:
    """The project that a template makes of a context: in a template for loafer-kit also formatted.

    Values stay literal whatever they hold. Code that a template brings runs only with `leave`.
    ConfigurationError with the place of what is wrong in a template of somebody's own.
    """
    if template.origin is None:  # a traceback is for bugs, and this one would be ours
        return builtin.render(template, context)
    try:
        return _rendered(template, context, answers or {}, ask, leave)
    except ConfigurationError as error:
        raise ConfigurationError(f"{template.origin}: {error}") from error
    except Exception as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        message = f"{template.origin}: {_place(error, template)}{told}{_cure(template)}"
        raise ConfigurationError(message) from error


def _rendered(
    template: Template, context: Context, answers: Values, ask: Ask | None, leave: Leave | None
) -> Rendered:
    code = trust.Code() if leave is None else trust.code_of(template)
    known = _known(template, context)
    with _extended(template, code.extensions, leave):
        environment = _environment(template, code.extensions)
        declared = copy.deepcopy(template.variables)  # a template may change lists and tables
        with memory.limited() if template.origin is not None else nullcontext():
            values = known | variables.resolve(declared, known, answers, environment, ask)
            asked = [key for key in variables.public(declared) if key not in known]
            given = _answers(values, asked)
            folder = project_files.name(environment, template.project, values)
            files = project_files.files(template, environment, values)
        _refuse_folder(folder)
        if leave is not None and code.hooks:
            scripts = trust.scripts(template, code.hooks, environment, values, leave)
            files = _through_hooks(scripts, folder, files)
    if template.purpose is not None:
        files = {path: _finished(path, file) for path, file in files.items()}
    return Rendered(folder, _plan(files), given, bool(code))


def _answers(values: Values, wanted: list[str]) -> Values:
    """What a lock keeps of the values: as they are before a file can change them."""
    try:
        kept = {key: plain(values[key], NoneType) for key in wanted}
        json.dumps(kept)  # not every number can be written
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"what its variables are made to hold is no JSON: {error}"
        ) from error
    return kept


def _known(template: Template, context: Context) -> Context:
    """What the spec says: all of it to a template for loafer-kit, to others the project's name.

    There a variable called `version` is the template's own.
    """
    if template.purpose is not None:
        return plain(context)  # type: ignore[no-any-return]
    return {"project_name": context["name"]} if "project_name" in template.variables else {}


def _extended(
    template: Template, extensions: Sequence[str], leave: Leave | None
) -> AbstractContextManager[None]:
    if leave is None or not extensions:
        return nullcontext()
    return trust.importable(template, extensions, leave)


def _environment(template: Template, extensions: Sequence[str]) -> Environment:
    safe = [name for name in template.extensions if name in sandbox.SAFE_EXTENSIONS]
    if template.purpose is None:
        safe += sandbox.COOKIECUTTER_EXTENSIONS
    settings = template.variables.get("_jinja2_env_vars")
    sources = {**template.below("templates"), **template.below(template.project)}
    return sandbox.environment(
        settings if isinstance(settings, dict) else {},
        [*safe, *extensions],
        {path: file.text for path, file in sources.items() if file.text is not None},
    )


def _refuse_folder(folder: str) -> None:
    if "/" in folder or folder.startswith("-"):
        raise ConfigurationError(f"{names.shown(folder)} cannot be a project's folder")
    refuse_reserved(folder)


def _through_hooks(
    scripts: Mapping[str, File], folder: str, files: Mapping[str, File]
) -> dict[str, File]:
    """The files as hooks leave them, in a folder made for that."""
    with tempfile.TemporaryDirectory(prefix="loafer-kit-") as staging:
        project = Path(staging, folder)
        project.mkdir()
        trust.run_before(scripts, project)
        for path, file in files.items():
            place = project / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content)
            place.chmod(0o700 if file.executable else 0o600)
        trust.run_after(scripts, project)
        left = template_files.everything(project)
    for path in left:
        refuse_reserved(path)
    return left


def _finished(path: str, file: File) -> File:
    try:
        return File(formatting.finish(path, file.content), file.executable)
    except Exception as error:
        error.add_note(path)
        raise


def _plan(files: Mapping[str, File]) -> Plan:
    return Plan(
        {path: file.content for path, file in files.items()},
        frozenset(path for path, file in files.items() if file.executable),
    )


def _place(error: Exception, template: Template) -> str:
    """Where in a template something went wrong, as far as it can be told."""
    notes = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name or _NAME}:{error.lineno}: "
    sources = {*template.below(template.project), *template.below("templates"), _NAME}
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno}: " for frame in frames if frame.filename in sources]
    return notes + "".join(places[-1:])


def _cure(template: Template) -> str:
    left = trust.code_of(template).extensions
    return f" (--trust would load {', '.join(map(in_one_line, left))})" if left else ""


def plain(value: object, *besides: type, depth: int = _DEEPEST) -> Any:
    """The value, when it is made of text, numbers, lists and tables alone, or of `besides`.

    A richer object would give a template its methods, and through them the interpreter. ValueError
    for one that is nested without an end, or nearly so.
    """
    if not depth:
        raise ValueError("it is nested too deeply")
    if type(value) in (str, int, float, bool, *besides):
        return value
    if type(value) is list:
        return [plain(item, *besides, depth=depth - 1) for item in value]
    if type(value) is dict:
        return {str(key): plain(item, *besides, depth=depth - 1) for key, item in value.items()}
    raise TypeError(f"a template's context cannot hold a {type(value).__name__}")
