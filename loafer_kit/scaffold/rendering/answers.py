"""The answers to the questions of a template.

Those of a built-in template become a spec, when cookiecutter asks them. Those of a custom one become
the values of its variables.
"""

import copy
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any

from cookiecutter.exceptions import ContextDecodingException, UndefinedVariableInTemplate
from cookiecutter.prompt import (
    YesNoPrompt,
    process_json,
    read_user_choice,
    read_user_dict,
    read_user_variable,
    read_user_yes_no,
    render_variable,
)
from cookiecutter.utils import create_env_with_context
from jinja2 import Environment, UndefinedError
from jinja2.ext import Extension
from rich.prompt import InvalidResponse

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.scaffold.escaping import escape_line, quoted
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import command_line
from loafer_kit.scaffold.spec import extensions, names, validation
from loafer_kit.scaffold.spec.extensions import Context
from loafer_kit.scaffold.spec.specs import Draft, ServiceSpec, SpecError

Values = Mapping[str, Any]

# The Jinja in the names of files and in defaults: look-ups in `cookiecutter`, filters without
# arguments, comparisons with texts.
_TERM = r"""cookiecutter(?:\.[a-z]\w*)*(?:\|[a-z]\w*)*|"[^"{}]*"|'[^'{}]*'|[!=]=|and|or|not|in|\s"""
_HARMLESS = re.compile(
    rf"\{{\{{(?:{_TERM})*\}}\}}|\{{% if (?:{_TERM})*%\}}|\{{% (?:else|endif) %\}}"
)
_MARKS = ("{{", "{%", "{#")


def service(answers: Mapping[str, Any]) -> ServiceSpec:
    """The spec of a service: `queue` is as `--queue` takes it, `with` as `--with` does."""
    draft = command_line.merge(Draft({}), str(answers["name"]), [str(answers["queue"])])
    wanted = str(answers["with"])
    return validation.service(command_line.ship(draft, [wanted] if wanted.strip() else []))


def extension(answers: Mapping[str, Any]) -> Context:
    """The variables of an extension: the settings are separated by spaces, as on a command line."""
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
    return _derive(answers, lambda: extension(answers))


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


def public(declared: Values) -> list[str]:
    """The variables that have a question."""
    return [name for name in declared if not name.startswith("_")]


def resolve(declared: Values, known: Values, answers: Values, *, ask: bool) -> dict[str, Any]:
    """The value of every variable: known, else answered or asked for, else its default.

    cookiecutter itself would render an answer as a template, and ask again for what is answered.
    """
    wanted = [name for name in public(declared) if name not in known]
    _refuse_unknown(answers, wanted, known)
    open_questions = [name for name in wanted if name not in answers]
    environment = create_env_with_context({"cookiecutter": declared})
    values: dict[str, Any] = copy.deepcopy({**known})
    # As in cookiecutter tables come last: their defaults may name all the others.
    for name, raw in sorted(declared.items(), key=lambda item: isinstance(item[1], dict)):
        if name in known:
            continue
        if name.startswith("_") and not name.startswith("__"):
            values[name] = raw
        elif name != "__prompts__":
            default = _default(environment, name, raw, values)
            if name in answers:
                values[name] = _typed(name, default, answers[name])
            elif ask and name in open_questions:
                count = f"{open_questions.index(name) + 1}/{len(open_questions)}"
                values[name] = _asked(name, default, declared, f"  [dim][{count}][/] ")
            else:
                is_choice = isinstance(default, list) and not name.startswith("_")
                values[name] = default[0] if is_choice else default
    return values


def _default(environment: Environment, name: str, raw: Any, values: Values) -> Any:
    try:
        default = render_variable(environment, raw, values)
    except UndefinedError as error:
        message = f"the default of {escape_line(name)}"
        raise UndefinedVariableInTemplate(message, error, {}) from error
    if default == [] and not name.startswith("_"):
        raise ConfigurationError(f"{escape_line(name)} has no choices")
    return default


def _asked(name: str, default: Any, declared: Values, prefix: str) -> Any:
    """Ask as cookiecutter does."""
    prompts = declared.get("__prompts__", {})
    if isinstance(default, list):
        return read_user_choice(name, default, prompts, prefix)
    if isinstance(default, bool):
        return read_user_yes_no(name, default, prompts, prefix)
    read = read_user_dict if isinstance(default, dict) else read_user_variable
    return read(name, default, prompts, prefix)


def _typed(name: str, default: Any, answer: Any) -> Any:
    """An answer as a value of its variable; ConfigurationError when it cannot be one."""
    problem = None
    try:
        if isinstance(default, list):
            problem = None if answer in default else f"is none of {_listed(default)}"
        elif isinstance(default, bool):
            return YesNoPrompt().process_response(str(answer))
        elif isinstance(default, dict):
            return answer if isinstance(answer, dict) else process_json(answer)
        elif not (isinstance(answer, str) or answer == default):
            problem = "must be a text"
    except (InvalidResponse, TypeError):
        problem = "must be yes or no" if isinstance(default, bool) else "must be a table in JSON"
    if problem is not None:
        raise ConfigurationError(f"{escape_line(name)}: {quoted(str(answer))} {problem}")
    return answer


def _refuse_unknown(answers: Values, wanted: list[str], known: Values) -> None:
    for name in answers:
        if name in known:
            raise ConfigurationError(f"{quoted(name)} comes from the spec")
        if name not in wanted:
            listed = f"; it has {_listed(wanted) or 'none of its own'}"
            hint = names.did_you_mean(name, wanted) or listed
            raise ConfigurationError(f"the template has no variable {quoted(name)}{hint}")


def _listed(words: Iterable[Any]) -> str:
    return ", ".join(escape_line(str(word)) for word in words)
