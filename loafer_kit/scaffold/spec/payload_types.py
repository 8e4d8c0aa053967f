"""The types of a payload's fields, as a spec writes them: `list[OrderLine]?`, `'open' | 'paid'`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# What an enumeration's values may hold: it says the same in Python, TOML and JSON.
LITERAL = re.compile(r"[A-Za-z0-9_ .,:/@+-]{0,100}")
_TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<word>[A-Za-z_]\w*)|'(?P<literal>{LITERAL.pattern})'"
    r"|(?P<number>-?[0-9]{1,18})(?!\w)|(?P<sign>[][|?])",
    re.ASCII,
)
_LONGEST, _DEEPEST = 1000, 50


@dataclass(frozen=True, slots=True)
class Scalar:
    """One of `SCALARS`."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Model:
    """Another model of the same spec."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Enumeration:
    """One of some texts or whole numbers."""

    values: tuple[str | int, ...]

    def __str__(self) -> str:
        return " | ".join(
            f"'{value}'" if isinstance(value, str) else str(value) for value in self.values
        )


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list whose items have one type."""

    item: "Type"

    def __str__(self) -> str:
        return f"list[{self.item}]"


@dataclass(frozen=True, slots=True)
class MapOf:
    """A table with keys of any name, whose values have one type."""

    item: "Type"

    def __str__(self) -> str:
        return f"map[{self.item}]"


@dataclass(frozen=True, slots=True)
class Maybe:
    """A value that may be null; a field that may be absent."""

    item: "Type"

    def __str__(self) -> str:
        return f"{self.item}?"


Type = Scalar | Model | Enumeration | ListOf | MapOf | Maybe

# Each type of a single value: its Python annotation, and a value of it in JSON.
SCALARS: dict[str, tuple[str, str | float | bool]] = {
    "any": ("Any", "anything"),
    "boolean": ("bool", True),
    "date": ("dt.date", "2030-01-31"),
    "datetime": ("dt.datetime", "2030-01-31T12:00:00+00:00"),
    "decimal": ("Decimal", "1.50"),
    "integer": ("int", 1),
    "number": ("float", 1.5),
    "string": ("str", "text"),
    "time": ("dt.time", "12:00:00"),
    "uuid": ("UUID", "00000000-0000-4000-8000-000000000000"),
}


def optional(type_: Type) -> Type:
    """The type, or null."""
    return type_ if isinstance(type_, Maybe) else Maybe(type_)


def models(type_: Type) -> Iterator[str]:
    """The names of the models that a type mentions."""
    match type_:
        case Model(name):
            yield name
        case ListOf(item) | MapOf(item) | Maybe(item):
            yield from models(item)


def annotation(type_: Type) -> str:
    """The type in Python."""
    match type_:
        case Scalar(name):
            return SCALARS[name][0]
        case Model(name):
            return name
        case Enumeration(values):
            return f"Literal[{', '.join(map(repr, values))}]"
        case ListOf(item):
            return f"list[{annotation(item)}]"
        case MapOf(item):
            return f"dict[str, {annotation(item)}]"
        case Maybe(item):
            return f"{annotation(item)} | None"


def parse(text: str) -> Type:
    """The type that a text writes; ValueError says why it is none."""
    if len(text) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    parser = _Parser(_tokens(text))
    type_ = parser.type()
    parser.take("")
    return type_


_Token = tuple[str, str]


def _tokens(text: str) -> list[_Token]:
    """Pairs of a kind and a text; the end is a sign without a text."""
    tokens: list[_Token] = []
    end = 0
    while end < len(text):
        match = _TOKEN.match(text, end)
        if match is None:
            raise ValueError(f"cannot be read from {text[end : end + 20]!a} on")
        kind = str(match.lastgroup)
        if kind != "space":
            tokens.append((kind, match[kind]))
        end = match.end()
    return [*tokens, ("sign", "")]


class _Parser:
    """Reads `type = item ["?"]` and what it is made of."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def type(self) -> Type:
        item = self._item()
        if self._tokens[self._at] == ("sign", "?"):
            self.take("?")
            return Maybe(item)
        return item

    def take(self, sign: str) -> None:
        kind, text = self._tokens[self._at]
        if (kind, text) != ("sign", sign):
            wanted = f"lacks {sign!a}" if sign else "goes on"
            raise ValueError(wanted + (f" before {text!a}" if text else " at its end"))
        self._at += 1

    def _item(self) -> Type:
        kind, text = self._tokens[self._at]
        if kind in ("literal", "number"):
            return self._enumeration()
        if kind != "word":
            raise ValueError(f"lacks a type before {text!a}" if text else "lacks a type")
        self._at += 1
        if text in ("list", "map"):
            item = self._inner()
            return ListOf(item) if text == "list" else MapOf(item)
        return Scalar(text) if text in SCALARS else Model(text)

    def _inner(self) -> Type:
        self.take("[")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"nests more than {_DEEPEST} levels deep")
        item = self.type()
        self._depth -= 1
        self.take("]")
        return item

    def _enumeration(self) -> Enumeration:
        values = [self._value()]
        while self._tokens[self._at] == ("sign", "|"):
            self.take("|")
            values.append(self._value())
        if len(set(values)) < len(values):
            raise ValueError("names a value twice")
        return Enumeration(tuple(values))

    def _value(self) -> str | int:
        kind, text = self._tokens[self._at]
        if kind not in ("literal", "number"):
            raise ValueError("lacks a value after '|'")
        self._at += 1
        return text if kind == "literal" else int(text)
