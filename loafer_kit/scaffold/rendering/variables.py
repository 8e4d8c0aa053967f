"""The variables of a template: what its `cookiecutter.json` declares, and their values.

As in cookiecutter a list is a choice, true or false a question, a text a default that may name the
variables before it. What a person or a spec says is never rendered.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from jinja2 import Environment

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import in_one_line
from loafer_kit.scaffold.spec import names

Values = Mapping[str, object]

_TRUTHS = {"true": True, "yes": True, "y": True, "1": True, "on": True}
_TRUTHS |= {"false": False, "no": False, "n": False, "0": False, "off": False}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: its default, with the variables before it filled in, or its choices."""

    name: str
    default: Any
    question: str
    choices: tuple[str, ...] = ()

    def typed(self, answer: object) -> object:
        """An answer as a value of this variable; ConfigurationError when it cannot be one."""
        if self.choices:
            if answer not in self.choices:
                raise self._refusal(answer, f"is none of {_listed(self.choices)}")
            return answer
        if isinstance(self.default, bool):
            truth = _TRUTHS.get(str(answer).lower())
            if truth is None:
                raise self._refusal(answer, "must be yes or no")
            return truth
        if isinstance(self.default, dict):
            return self._table(answer)
        if not isinstance(answer, str):
            raise self._refusal(answer, "must be a text")
        return answer

    def _table(self, answer: object) -> object:
        try:
            table = json.loads(answer) if isinstance(answer, str) else answer
        except ValueError:
            table = None
        if not isinstance(table, dict):
            raise self._refusal(answer, "must be a table in JSON")
        return table

    def _refusal(self, answer: object, why: str) -> ConfigurationError:
        return ConfigurationError(f"{in_one_line(self.name)}: {names.shown(str(answer))} {why}")


#: Asks for a variable's value; what comes back is checked already.
Ask = Callable[[Variable], object]


def public(declared: Values) -> list[str]:
    """The variables that have a question: not those that begin with an underscore."""
    return [name for name in declared if not name.startswith("_")]


def resolve(
    declared: Values, known: Values, answers: Values, environment: Environment, ask: Ask | None
) -> dict[str, Any]:
    """The value of every variable: what is known, else answered or asked for, else the default.

    ConfigurationError for an answer that is none.
    """
    _refuse_unknown(answers, declared, known)
    values: dict[str, Any] = dict(known)
    for name, raw in _in_order(declared):
        if name in known:
            values[name] = known[name]
        elif name.startswith("_"):
            is_private = name.startswith("__") and name != "__prompts__"
            values[name] = _rendered(raw, values, environment) if is_private else raw
        else:
            variable = _variable(name, raw, declared, values, environment)
            values[name] = _value(variable, answers, ask)
    return values


def _in_order(declared: Values) -> Iterator[tuple[str, object]]:
    """As declared, but tables that are asked for last: their defaults may name all the others."""
    yield from sorted(
        declared.items(),
        key=lambda item: isinstance(item[1], dict) and not item[0].startswith("_"),
    )


def _variable(
    name: str, raw: object, declared: Values, values: Values, environment: Environment
) -> Variable:
    prompts = declared.get("__prompts__")
    said = prompts.get(name) if isinstance(prompts, dict) else None
    if isinstance(said, dict):
        said = said.get("__prompt__")
    default = _rendered(raw, values, environment)
    choices = tuple(map(str, default)) if isinstance(default, list) else ()
    if choices:
        default = choices[0]
    return Variable(
        name, default, said if isinstance(said, str) and said.isprintable() else name, choices
    )


def _value(variable: Variable, answers: Values, ask: Ask | None) -> object:
    if variable.name in answers:
        return variable.typed(answers[variable.name])
    return ask(variable) if ask is not None else variable.default


def _rendered(raw: object, values: Values, environment: Environment) -> Any:
    """A default as cookiecutter fills it in: numbers become texts, in tables and lists too."""
    if raw is None or isinstance(raw, bool):
        return raw
    if isinstance(raw, dict):
        return {
            _rendered(key, values, environment): _rendered(item, values, environment)
            for key, item in raw.items()
        }
    if isinstance(raw, list):
        return [_rendered(item, values, environment) for item in raw]
    return environment.from_string(str(raw)).render(cookiecutter=values)


def _refuse_unknown(answers: Values, declared: Values, known: Values) -> None:
    wanted = [name for name in public(declared) if name not in known]
    for name in answers:
        if name in known:
            raise ConfigurationError(f"{names.shown(name)} comes from the spec")
        if name not in wanted:
            near = get_close_matches(name, wanted, n=1)
            listed = f"it has {_listed(wanted)}" if wanted else "it has none of its own"
            hint = f"did you mean {near[0]!a}?" if near else listed
            raise ConfigurationError(f"the template has no variable {names.shown(name)}; {hint}")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(map(in_one_line, words))
