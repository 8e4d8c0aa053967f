"""The variables of an extension's template, from the arguments of the command line."""

import builtins
import json
import keyword
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from loafer_kit import __version__
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import Value
from loafer_kit.scaffold.spec.specs import Problem, SpecError

DEFAULT_NAME = "my-extension"

#: What an extension is like: what it adds to a service.
KINDS = ("resource", "consumer", "provider", "middleware")

_SETTING = re.compile(r"[A-Z][A-Z0-9_]{0,98}[A-Z0-9]")
#: Names that the generated modules define or import.
_TAKEN = {"Any", "Abort", "Application", "ClassVar", "Connection", "Consumer", "Extension"}
_TAKEN |= {"CallNext", "Counter", "Handled", "InMemoryProvider", "LoaferManager", "Mapping"}
_TAKEN |= {"Message", "Middleware", "Once", "Provider", "ProviderContract", "Queue", "Route"}
_TAKEN |= {"Service", "TestProvider"}


#: The variables of `templates/extension`.
Context = dict[str, Any]


def extension(
    name: str,
    settings: Sequence[str],
    required: Sequence[str],
    *,
    like: str | None = None,
    consumer: bool = False,
    cli: bool = False,
) -> Context:
    """The extension `NAME --setting NAME=default --required NAME`; SpecError with all problems.

    `like` is one of `KINDS`, by default a resource; `consumer` is short for a consumer. Settings
    without the extension's prefix get it.
    """
    words = _words(name)
    prefix = "_".join(words).upper()
    problems = list(name_problems(name))
    defaults = dict(_pairs(settings, prefix, problems))
    wanted = [_prefixed(text, prefix) for text in required]
    problems.extend(_setting_problems([*defaults, *wanted]))
    kind = like if like is not None else "consumer" if consumer else KINDS[0]
    problems.extend(_kind_problems(kind, consumer=consumer))
    if problems:
        raise SpecError(problems)
    stem = "_".join(words).lower()
    class_name = _class_name(words)
    return {
        "name": f"loafer-kit-{'-'.join(words).lower()}",
        "package": f"loafer_kit_{stem}",
        "class_name": class_name,
        "key": class_name.lower(),
        "namespace": stem.replace("_", "-"),
        "version": __version__,
        "settings": [{"name": name, "default": value} for name, value in defaults.items()],
        "required": wanted,
        "like": kind,
        "consumer": kind == "consumer",
        "cli": cli,
    }


def from_lock(values: Mapping[str, object]) -> Context:
    """The extension of the arguments of `extension` that a lock has kept."""
    try:
        name, settings, required = (values[key] for key in ("name", "settings", "required"))
        texts = [name, *cast("list[object]", settings), *cast("list[object]", required)]
    except (KeyError, TypeError) as error:
        raise ConfigurationError(f"the lock's spec is damaged ({error})") from error
    if not all(isinstance(text, str) for text in texts):
        raise ConfigurationError("the lock's spec is damaged: expected strings")
    return extension(
        cast("str", name),
        cast("list[str]", settings),
        cast("list[str]", required),
        like=cast("str | None", values.get("like")),
        consumer=values.get("consumer") is True,
        cli=values.get("cli") is True,
    )


def name_problems(name: str) -> Iterator[Problem]:
    """The reason why an extension cannot have this name."""
    words = _words(name)
    class_name = _class_name(words)
    why = names.project(name)
    if why is None and not class_name[:1].isalpha():
        why = f"{quoted(name)} cannot name an extension: a letter must come first"
    elif why is None and (
        class_name in _TAKEN or hasattr(builtins, class_name) or keyword.iskeyword(class_name)
    ):
        why = f"an extension's class cannot be named {class_name}, which is already in use"
    if why is not None:
        yield Problem(("name",), why)


def _words(name: str) -> list[str]:
    stem = re.sub(r"\Aloafer[-_.]kit(?:[-_.]|\Z)", "", name, flags=re.IGNORECASE)
    return [word for word in re.split(r"[-_.]+", stem) if word]


def _class_name(words: Sequence[str]) -> str:
    return "".join(word[0].upper() + word[1:] for word in words)


def _prefixed(text: str, prefix: str) -> str:
    name = text.strip().upper()
    return name if name.startswith(f"{prefix}_") else f"{prefix}_{name}"


def _pairs(
    settings: Sequence[str], prefix: str, problems: list[Problem]
) -> Iterator[tuple[str, Value]]:
    seen = set()
    for index, text in enumerate(settings):
        name, equals, default = text.partition("=")
        setting = _prefixed(name, prefix)
        if not equals:
            message = f"{quoted(text)} must have the form NAME=default"
            problems.append(Problem(("setting", index), message))
        elif setting in seen:
            problems.append(Problem(("setting", index), f"{quoted(setting)} is given twice"))
        seen.add(setting)
        yield setting, _typed(default)


def _typed(text: str) -> Value:
    """The default as a JSON string, number or boolean; else the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return text


def _kind_problems(kind: object, *, consumer: bool) -> Iterator[Problem]:
    if kind not in KINDS:
        yield Problem(("like",), f"must be one of {', '.join(KINDS)}, not {quoted(str(kind))}")
    elif consumer and kind != "consumer":
        yield Problem(("like",), f"{kind} and --consumer exclude each other")


def _setting_problems(settings: Sequence[str]) -> Iterator[Problem]:
    for setting in dict.fromkeys(settings):
        if not _SETTING.fullmatch(setting):
            message = (
                f"{quoted(setting)} cannot name a setting: letters and digits, '_' between them"
            )
            yield Problem(("setting",), message)
        elif settings.count(setting) > 1:
            message = f"{quoted(setting)} cannot be required twice, or have a default as well"
            yield Problem(("required",), message)
