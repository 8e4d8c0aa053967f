"""How a value enters each language: functions from a value to the text that stands for it."""

import json
import keyword
import re
import shlex
from collections.abc import Mapping

from loafer_kit.scaffold.spec import names, payload_types

_PLAIN_YAML = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./ -]|:(?=[A-Za-z0-9]))*(?<! )")
_YAML_WORDS = frozenset(["false", "n", "no", "null", "off", "on", "true", "y", "yes"])
# What says the same in a docstring, a comment, Markdown and a Dockerfile.
_PROSE = re.compile(r"[A-Za-z0-9_ .,:/@-]*")


class Quoted(str):
    """Text that a filter has made safe for where it goes."""

    __slots__ = ()


def python(value: object) -> Quoted:
    """A Python literal of plain values, written as black writes it."""
    if isinstance(value, str):
        return Quoted(_python_text(value))
    if isinstance(value, Mapping):
        items = (f"{python(key)}: {python(item)}" for key, item in value.items())
        return Quoted(f"{{{', '.join(items)}}}")
    if isinstance(value, list):
        return Quoted(f"[{', '.join(map(python, value))}]")
    return Quoted(ascii(value).replace("e+", "e"))


def _python_text(text: str) -> str:
    """A string literal in double quotes, unless single ones need fewer backslashes."""
    body = ascii(text + '"')[1:-2].replace("\\'", "'")
    quote = '"' if text.count('"') <= text.count("'") else "'"
    return quote + body.replace(quote, f"\\{quote}") + quote


def toml(value: object) -> Quoted:
    """A TOML value: strings as basic strings, in ASCII; a table in one line."""
    if isinstance(value, Mapping):
        pairs = (f"{toml_key(key)} = {toml(item)}" for key, item in value.items())
        return Quoted(f"{{ {', '.join(pairs)} }}")
    if isinstance(value, list):
        return Quoted(f"[{', '.join(map(toml, value))}]")
    return Quoted(_double_quoted(value) if isinstance(value, str) else json.dumps(value))


def yaml(value: object) -> Quoted:
    """A YAML value that stands alone: a string is plain where it can only be a string."""
    if not isinstance(value, str):
        return Quoted(_flow(value, ": "))
    if _PLAIN_YAML.fullmatch(value) and value.lower() not in _YAML_WORDS:
        return Quoted(value)
    return Quoted(_double_quoted(value))


def hcl(value: object) -> Quoted:
    """A value in HCL, in which nothing is interpolated."""
    if not isinstance(value, str):
        return Quoted(_flow(value, " = ", besides="$%"))
    return Quoted(_double_quoted(value, besides="$%"))


def _flow(value: object, equals: str, besides: str = "") -> str:
    """A JSON value as YAML and HCL write it in one line."""
    if isinstance(value, str):
        return _double_quoted(value, besides)
    if isinstance(value, Mapping):
        items = (
            f"{_double_quoted(key, besides)}{equals}{_flow(item, equals, besides)}"
            for key, item in value.items()
        )
        listed = ", ".join(items)
        return f"{{ {listed} }}" if equals == " = " else f"{{{listed}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(item, equals, besides) for item in value)}]"
    # YAML takes 1e-05 for a string.
    return re.sub(r"^(-?\d+)e", r"\1.0e", json.dumps(value))


# The names of queues and topics, which may take parameters: `${STAGE}-orders`.


def python_name(value: object) -> Quoted:
    """A name as Python computes it from the module `parameters`; other values as `python`."""
    if not isinstance(value, str) or "$" not in value:
        return python(value)
    code = names.REFERENCE.sub(r"{parameters.\g<parameter>}", value)
    if names.REFERENCE.fullmatch(value):
        return Quoted(code.strip("{}"))
    return Quoted(f'f"{code}"')


def cloudformation(value: str) -> Quoted:
    """A text in a CloudFormation template, with a `!Sub` if it takes parameters."""
    if "${" not in value:
        return yaml(value)
    text = names.REFERENCE.sub(lambda found: f"${{{camel_case(found['parameter'])}}}", value)
    return Quoted(f"!Sub {_double_quoted(text)}")


def hcl_name(value: str) -> Quoted:
    """A string in HCL that takes parameters from variables."""
    return Quoted(f'"{hcl_part(value)}"')


def hcl_part(value: str) -> Quoted:
    """Like `hcl_name`, as a part of a string."""
    fixed = _double_quoted(names.REFERENCE.sub("\0", value), besides="$%")[1:-1]
    for name in names.parameters_in(value):
        fixed = fixed.replace("\\U00000000", f"${{var.{name.lower()}}}", 1)
    return Quoted(fixed)


def camel_case(name: str) -> Quoted:
    """A parameter's name as CloudFormation accepts it: `TEAM_NAME` becomes `TeamName`."""
    return Quoted("".join(word.capitalize() for word in name.split("_")))


def toml_key(key: str) -> Quoted:
    """A key of a TOML table: bare where it can be."""
    return Quoted(key) if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml(key)


def json_value(value: object) -> Quoted:
    """A JSON value in one line, in ASCII."""
    return Quoted(json.dumps(value))


def shell_json(value: object) -> Quoted:
    """JSON as one word of a shell's line; ValueError where it holds the quote that would end it."""
    text = json.dumps(value)
    if "'" in text:
        raise ValueError(f"{text!a} cannot be quoted for a shell")
    return Quoted(f"'{text}'")


def shell(value: str) -> Quoted:
    """A text as one word of a shell's line."""
    return Quoted(shlex.quote(value))


def python_tuple(values: list[str]) -> Quoted:
    """The literal of a tuple."""
    return Quoted(f"({', '.join(map(python, values))}{',' if len(values) == 1 else ''})")


def python_keywords(values: Mapping[str, object]) -> Quoted:
    """The arguments of a call, each by its name."""
    arguments = (
        (
            f"{name}={python(value)}"
            if name.isidentifier() and not keyword.iskeyword(name)
            else f"**{python({name: value})}"
        )
        for name, value in values.items()
    )
    return Quoted(", ".join(arguments))


def annotation(text: str, forward: bool = False) -> Quoted:
    """A payload type of a spec as a Python annotation, in quotes if its model comes later."""
    found = payload_types.parse(text).annotation
    return python(found) if forward else Quoted(found)


def prose(value: str) -> Quoted:
    """A name within a sentence; ValueError for text that could mean something to a parser."""
    if not _PROSE.fullmatch(value):
        raise ValueError(f"{value!a} cannot stand in a sentence")
    return Quoted(value)


def code(value: str) -> Quoted:
    """A one-line text as code in a cell of a Markdown table."""
    longest = max((len(run) for run in re.findall("`+", value)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return Quoted(f"{fence}{pad}{value}{pad}{fence}".replace("|", "\\|"))


def _double_quoted(text: str, besides: str = "") -> str:
    """A string as TOML, YAML and HCL read it, in ASCII; `besides` are escaped by their numbers."""
    return '"' + "".join(_escaped(character, besides) for character in text) + '"'


def _escaped(character: str, besides: str) -> str:
    if character in '"\\':
        return "\\" + character
    if " " <= character <= "~" and character not in besides:
        return character
    return f"\\U{ord(character):08X}"
