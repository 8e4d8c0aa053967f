"""The types of a payload's fields: Python annotations like `list[OrderLine] | None`, never run."""

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

# A text in a `Literal`: it reads the same in Python, TOML and JSON.
LITERAL = re.compile(r"[A-Za-z0-9_ .,:/@+-]{0,100}")
_LONGEST, _DEEPEST = 1000, 50
_LARGEST = 10**18
_FORMS = frozenset(["list", "dict", "Literal"])
_REMEDY = "use list[T], dict[str, T], Literal[...] or T | None"

# Each type of a single value: how generated code writes it, and a value of it in JSON.
SCALARS: dict[str, tuple[str, str | float | bool]] = {
    "Any": ("Any", "anything"),
    "Decimal": ("Decimal", "1.50"),
    "UUID": ("UUID", "00000000-0000-4000-8000-000000000000"),
    "bool": ("bool", True),
    "date": ("dt.date", "2030-01-31"),
    "datetime": ("dt.datetime", "2030-01-31T12:00:00+00:00"),
    "float": ("float", 1.5),
    "int": ("int", 1),
    "str": ("str", "text"),
    "time": ("dt.time", "12:00:00"),
}


@dataclass(frozen=True, slots=True)
class Type:
    """A type: `name` is a scalar's, a model's, `list`, `dict` or `Literal`.

    `item` is the type of a list's items or of a dict's values; `values` are those of a `Literal`.
    An optional value may be null; an optional field may be absent.
    """

    name: str
    item: "Type | None" = None
    values: tuple[str | int, ...] = ()
    optional: bool = False

    def __str__(self) -> str:
        return self.with_names({})

    @property
    def annotation(self) -> str:
        """The annotation in generated code, which imports the module `datetime` as `dt`.

        It has double quotes, as black writes them.
        """
        text = self.with_names({name: written for name, (written, _) in SCALARS.items()})
        return text.replace("'", '"')

    def with_names(self, names: Mapping[str, str]) -> str:
        """The annotation with some names written in another way."""
        inner = self.item.with_names(names) if self.item else ", ".join(map(repr, self.values))
        inner = f"str, {inner}" if self.name == "dict" else inner
        text = f"{self.name}[{inner}]" if inner else names.get(self.name, self.name)
        return f"{text} | None" if self.optional else text

    def or_none(self) -> "Type":
        """The same type, optional."""
        return replace(self, optional=True)

    def names(self) -> set[str]:
        """The scalars and models that this type is made of."""
        inner = self.item.names() if self.item else set()
        return inner if self.name in _FORMS else {self.name, *inner}

    def models(self) -> set[str]:
        """The models that this type is made of."""
        return self.names() - set(SCALARS)


def parse(text: str) -> Type:
    """The type that an annotation writes; ValueError with the reason if it is not a type."""
    if len(text) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("is not a Python annotation") from error
    return _type(tree, 0)


def _type(tree: ast.expr, depth: int) -> Type:
    if depth > _DEEPEST:
        raise ValueError(f"nests more than {_DEEPEST} levels deep")
    match tree:
        case ast.Name(name):
            if name in _FORMS:
                raise ValueError(f"has {name} without its types: {_REMEDY}")
            return Type(name)
        case ast.BinOp(item, ast.BitOr(), ast.Constant(None)):
            return _type(item, depth + 1).or_none()
        case ast.Subscript(ast.Name("list"), item):
            return Type("list", _type(item, depth + 1))
        case ast.Subscript(ast.Name("dict"), ast.Tuple([ast.Name("str"), item])):
            return Type("dict", _type(item, depth + 1))
        case ast.Subscript(ast.Name("Literal"), ast.Tuple([*values])):
            return _literal(values)
        case ast.Subscript(ast.Name("Literal"), value):
            return _literal([value])
    raise ValueError(f"has a part that is not a type: {_REMEDY}")


def _literal(values: list[ast.expr]) -> Type:
    found = tuple(map(_value, values))
    if not found or len(set(found)) < len(found):
        raise ValueError("has a Literal that names no value, or one twice")
    return Type("Literal", values=found)


def _value(tree: ast.expr) -> str | int:
    match tree:
        case ast.UnaryOp(ast.USub(), ast.Constant(int() as number)) if type(number) is int:
            value: object = -number
        case ast.Constant(value):
            pass
        case _:
            value = None
    if isinstance(value, str) and LITERAL.fullmatch(value):
        return value
    if type(value) is int and abs(value) < _LARGEST:
        return value
    raise ValueError(f"has a Literal value that is not a whole number or {LITERAL.pattern!r}")
