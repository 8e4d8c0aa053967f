"""Makes a spec of the answers to the questions of a built-in template, when cookiecutter asks them."""

import re
import shlex
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from cookiecutter.exceptions import ContextDecodingException
from jinja2 import Environment
from jinja2.ext import Extension

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.escaping import escape_line, quoted
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import flags
from loafer_kit.scaffold.spec import extensions, validation
from loafer_kit.scaffold.spec.extensions import ExtensionSpec
from loafer_kit.scaffold.spec.specs import Draft, ServiceSpec, SpecError

# The Jinja in the names of files and in defaults: look-ups in `cookiecutter`, filters without
# arguments, comparisons with texts.
_TERM = r"""cookiecutter(?:\.[a-z]\w*)*(?:\|[a-z]\w*)*|"[^"{}]*"|'[^'{}]*'|[!=]=|and|or|not|in|\s"""
_HARMLESS = re.compile(
    rf"\{{\{{(?:{_TERM})*\}}\}}|\{{% if (?:{_TERM})*%\}}|\{{% (?:else|endif) %\}}"
)
_MARKS = ("{{", "{%", "{#")


def service(answers: Mapping[str, Any]) -> ServiceSpec:
    """The spec of a service: `queue` is as `--queue` takes it, `with` as `--with` does."""
    draft = flags.merge(Draft({}), str(answers["name"]), [str(answers["queue"])])
    wanted = str(answers["with"])
    return validation.service(flags.ship(draft, [wanted] if wanted.strip() else []))


def extension(answers: Mapping[str, Any]) -> ExtensionSpec:
    """The spec of an extension: the settings are separated by spaces, as on a command line."""
    return extensions.extension(
        str(answers["name"]),
        shlex.split(str(answers["settings"])),
        shlex.split(str(answers["required"])),
        # The first of the choices is the default, and `consumer` is short for another.
        like=None if answers["consumer"] else str(answers["like"]),
        consumer=answers["consumer"],
        cli=answers["cli"],
    )


def _derive_service(answers: MutableMapping[str, Any]) -> str:
    return _derive(answers, lambda: contexts.service(service(answers)))


def _derive_extension(answers: MutableMapping[str, Any]) -> str:
    return _derive(answers, lambda: extensions.context(extension(answers)))


def _derive(answers: MutableMapping[str, Any], variables: Callable[[], Mapping[str, Any]]) -> str:
    """Add the variables of the spec to the answers, unless `loafer-kit` has given them already."""
    if "package" not in answers:
        try:
            answers.update(variables())
        except SpecError as error:
            _refuse("; ".join(map(str, error.problems)), error)
        except (LoaferKitError, ValueError) as error:
            _refuse(str(error), error)
    return ""


def _refuse(message: str, cause: Exception | None = None) -> None:
    """Stop cookiecutter with one line, before it writes anything."""
    raise ContextDecodingException(escape_line(message)) from cause


class AnswersExtension(Extension):
    """Gives cookiecutter the filters that complete the answers, and keeps it from running them.

    cookiecutter renders an answer that is given on the command line. With this extension it renders
    nothing but look-ups there.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters.update(
            derive_extension=_derive_extension, derive_service=_derive_service
        )

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Refuse a text, as opposed to a file, that is more than look-ups."""
        if name is None and any(mark in _HARMLESS.sub("", source) for mark in _MARKS):
            _refuse(f"{quoted(source)} is not rendered: an answer is plain text")
        return source
