"""Reads a service's routes and names from its syntax; no code is imported."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loafer_kit.exceptions import ConfigurationError

ROUTES = frozenset(["AMQPRoute", "SQSRoute", "SNSQueueRoute"])
TRANSLATOR = "EnvelopeTranslator"


class Unreadable:
    """The value of an expression that only running it would reveal."""


class Name(str):
    """A dotted name in the code, as opposed to a string."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RouteCode:
    """One route as the code constructs it; a value that syntax does not reveal is `Unreadable`.

    A name like `handlers.handle_orders` is a `Name`. `options` are those of a receive call, None
    if they are unreadable.
    """

    kind: str
    queue: Any
    line: int
    options: Mapping[str, Any] | None
    keywords: Mapping[str, Any]


def parse(content: bytes, where: str) -> ast.Module:
    """A module's syntax tree; ConfigurationError names the line of a syntax error."""
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{where}:{line}" if line else where
        raise ConfigurationError(
            f"{place}: this is not valid Python ({getattr(error, 'msg', error)})"
        ) from error
    except (RecursionError, MemoryError) as error:
        raise ConfigurationError(f"{where}: the code is nested too deeply") from error


def routes(module: ast.Module) -> list[RouteCode]:
    """Every route that a module constructs, in the order of the code."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    found = [_route(call) for call in calls if _name(call.func) in ROUTES]
    return sorted(found, key=lambda route: route.line)


def defined(body: Sequence[ast.stmt]) -> Iterator[str]:
    """The names that a module's statements define, import or assign at its top level."""
    waiting: list[ast.AST] = [*body]
    while waiting:
        match node := waiting.pop(0):
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
            case ast.Assign() | ast.AnnAssign():
                for target in targets(node):
                    yield from names_of(target)
            case _:
                inner = ("body", "handlers", "orelse", "finalbody")
                waiting[:0] = [item for field in inner for item in getattr(node, field, ())]


def targets(statement: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    """What an assignment assigns to."""
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]


def names_of(node: ast.AST) -> set[str]:
    """The plain names that a piece of code uses."""
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def _route(call: ast.Call) -> RouteCode:
    arguments = [_value(argument) for argument in call.args]
    keywords = {keyword.arg: _value(keyword.value) for keyword in call.keywords if keyword.arg}
    queue = arguments[0] if arguments else Unreadable()
    provider = arguments[1] if len(arguments) > 1 else keywords.pop("provider_options", {})
    options = provider.get("options", {}) if isinstance(provider, dict) else None
    return RouteCode(
        kind=_name(call.func).rpartition(".")[2],
        queue=queue,
        line=call.lineno,
        options=options if isinstance(options, dict) else None,
        keywords=keywords,
    )


def _value(node: ast.expr) -> Any:
    """A literal's value; for a name, or a call without arguments, the name.

    `EnvelopeTranslator(sns, s3)` is its own text, and `by_type(…)` that of `types_text`.
    """
    try:
        value = ast.literal_eval(node)
        repr(value)  # a number may be too large to print
    except (ValueError, TypeError, RecursionError, MemoryError):
        if isinstance(node, ast.Call) and _name(node.func) == "by_type":
            return _types(node)
        if isinstance(node, ast.Call) and not node.keywords:
            if _name(node.func) == TRANSLATOR:
                return ast.unparse(node)
            node = node if node.args else node.func
        return Name(_name(node)) if _name(node) else Unreadable()
    return value


def _types(call: ast.Call) -> Any:
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    match arguments:
        case [ast.Constant(str() as key), ast.Dict(keys, values), *default]:
            types = {
                found.value: _name(value)
                for found, value in zip(keys, values, strict=True)
                if isinstance(found, ast.Constant) and isinstance(found.value, str)
            }
            names = [*types.values(), *map(_name, default)]
            if all(names) and len(types) == len(values) and len(default) <= 1:
                return types_text(key, types, *map(_name, default))
    return Unreadable()


def types_text(key: str, types: Mapping[str, str], default: str = "") -> str:
    """A `by_type` in one line, its types in alphabetical order."""
    rows = [f"{name!r}: {handler.rpartition('.')[2]}" for name, handler in sorted(types.items())]
    rest = f", default={default.rpartition('.')[2]}" if default else ""
    return f"by_type({key!r}, {{{', '.join(rows)}}}{rest})"


def _name(node: ast.expr) -> str:
    """A dotted name, empty for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
