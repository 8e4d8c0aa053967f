"""The types of a payload's fields: Python annotations like `list[OrderLine] | None`, never run."""

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

# A text in a `Literal`: it reads the same in Python, TOML and JSON.
LITERAL = re.compile(r"[A-Za-z0-9_ .,:/@+-]{0,100}")
LONGEST = 1000
_DEEPEST = 50
_LARGEST = 10**18
_FORMS = frozenset(["list", "dict", "Literal", "Union"])
_REMEDY = "use list[T], dict[str, T], Literal[...], T | U or T | None"

# Each type of a single value: how generated code writes it, and a value of it in JSON.
SCALARS: dict[str, tuple[str, str | float | bool]] = {
    "Any": ("Any", "anything"),
    "Base64Bytes": ("Base64Bytes", "dGV4dA=="),
    "Decimal": ("Decimal", "1.50"),
    "IPv4Address": ("IPv4Address", "192.0.2.1"),
    "IPv6Address": ("IPv6Address", "2001:db8::1"),
    "UUID": ("UUID", "00000000-0000-4000-8000-000000000000"),
    "bool": ("bool", True),
    "date": ("dt.date", "2030-01-31"),
    "datetime": ("dt.datetime", "2030-01-31T12:00:00+00:00"),
    "float": ("float", 1.5),
    "int": ("int", 1),
    "str": ("str", "text"),
    "time": ("dt.time", "12:00:00"),
    "timedelta": ("dt.timedelta", "PT1H"),
}


Default = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Type:
    """A type: `name` is a scalar's, a model's, `list`, `dict`, `Literal` or `Union`.

    `item` is the type of a list's items or of a dict's values; `values` are those of a `Literal`,
    `choices` the types of a `Union`. An optional value may be null. A field that is optional, and
    not `required`, may be absent; so may a field with a `default`.
    """

    name: str
    item: "Type | None" = None
    values: tuple[str | int, ...] = ()
    optional: bool = False
    choices: tuple["Type", ...] = ()
    required: bool = False
    default: Default = None

    def __str__(self) -> str:
        text = self.with_names({})
        if self.required:
            return f"Required[{text}]"
        return text if self.default is None else f"{text} = {self.default!r}"

    @property
    def may_be_absent(self) -> bool:
        """Whether a message may lack a field of this type."""
        return self.default is not None or (self.optional and not self.required)

    @property
    def annotation(self) -> str:
        """The annotation in generated code, which imports the module `datetime` as `dt`.

        It has double quotes, as black writes them, and no default.
        """
        text = self.with_names({name: written for name, (written, _) in SCALARS.items()})
        return text.replace("'", '"')

    def with_names(self, names: Mapping[str, str]) -> str:
        """The annotation with some names written in another way."""
        if self.choices:
            text = " | ".join(choice.with_names(names) for choice in self.choices)
        else:
            inner = self.item.with_names(names) if self.item else ", ".join(map(repr, self.values))
            inner = f"str, {inner}" if self.name == "dict" else inner
            text = f"{self.name}[{inner}]" if inner else names.get(self.name, self.name)
        return f"{text} | None" if self.optional else text

    def or_none(self) -> "Type":
        """The same type, optional."""
        return replace(self, optional=True)

    def names(self) -> set[str]:
        """The scalars and models that this type is made of."""
        inner = set().union(*(part.names() for part in (self.item, *self.choices) if part))
        return inner if self.name in _FORMS else {self.name, *inner}

    def models(self) -> set[str]:
        """The models that this type is made of."""
        return self.names() - set(SCALARS)

    def accepts(self, default: object) -> bool:
        """Whether a value can be the default of a field of this type."""
        if self.name == "Literal":
            return any(type(default) is type(value) and default == value for value in self.values)
        if isinstance(default, str):
            return self.name == "str" and LITERAL.fullmatch(default) is not None
        if isinstance(default, bool):
            return self.name == "bool"
        if isinstance(default, (int, float)) and abs(default) < _LARGEST:  # false of NaN
            return self.name == "float" or (self.name == "int" and isinstance(default, int))
        return False


def union(types: Sequence[Type]) -> Type:
    """The type of values that fit any of the types; `Any` if one of them is."""
    found = [part for type_ in types for part in (type_.choices or (type_,))]
    is_optional = any(type_.optional for type_ in [*types, *found])
    plain = tuple(dict.fromkeys(replace(type_, optional=False) for type_ in found))
    if Type("Any") in plain:
        return Type("Any")
    only = plain[0] if len(plain) == 1 else Type("Union", choices=plain)
    return only.or_none() if is_optional else only


def parse(text: str) -> Type:
    """The type that an annotation writes; ValueError with the reason if it is not a type.

    The type of a field may have a default, `str = 'open'`, or be `Required[T | None]`: it may be
    null, but not absent.
    """
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    written, _, default = _split_default(text.strip())
    tree = _parsed(written)
    match tree:
        case ast.Subscript(ast.Name("Required"), item):
            found = _type(item, 0)
            if not found.optional or default:
                raise ValueError("has Required: that is for T | None without a default")
            return replace(found, required=True)
    found = _type(tree, 0)
    return replace(found, default=_default(found, default)) if default else found


def _split_default(text: str) -> tuple[str, str, str]:
    """The annotation and the default behind the equals sign outside all quotes."""
    quote = ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "=":
            return text[:place], "=", text[place + 1 :].strip() or "?"
    return text, "", ""


def _parsed(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("is not a Python annotation") from error


def _default(type_: Type, text: str) -> Default:
    try:
        value: Default = ast.literal_eval(_parsed(text))
    except (ValueError, TypeError, RecursionError, MemoryError):
        value = None
    if not type_.accepts(value):
        raise ValueError("has a default that is not a text, number or boolean of its type")
    return value


def _type(tree: ast.expr, depth: int) -> Type:
    if depth > _DEEPEST:
        raise ValueError(f"nests more than {_DEEPEST} levels deep")
    match tree:
        case ast.Name(name):
            if name in _FORMS:
                raise ValueError(f"has {name} without its types: {_REMEDY}")
            return Type(name)
        case ast.BinOp(_, ast.BitOr(), _):
            return _union(list(_alternatives(tree)), depth)
        case ast.Subscript(ast.Name("list"), item):
            return Type("list", _type(item, depth + 1))
        case ast.Subscript(ast.Name("dict"), ast.Tuple([ast.Name("str"), item])):
            return Type("dict", _type(item, depth + 1))
        case ast.Subscript(ast.Name("Literal"), ast.Tuple([*values])):
            return _literal(values)
        case ast.Subscript(ast.Name("Literal"), value):
            return _literal([value])
    raise ValueError(f"has a part that is not a type: {_REMEDY}")


def _alternatives(tree: ast.expr) -> Iterator[ast.expr]:
    waiting = [tree]
    while waiting:
        match waiting.pop():
            case ast.BinOp(left, ast.BitOr(), right):
                waiting += [right, left]
            case part:
                yield part


def _union(parts: list[ast.expr], depth: int) -> Type:
    types = [_type(part, depth + 1) for part in parts if not _is_none(part)]
    if not types:
        raise ValueError(f"has a part that is not a type: {_REMEDY}")
    found = union(types)
    return found.or_none() if len(types) < len(parts) else found


def _is_none(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant) and part.value is None


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
