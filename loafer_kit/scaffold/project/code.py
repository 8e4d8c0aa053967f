"""What a service's code says about its queues: read from its syntax, nothing is imported."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loafer_kit.exceptions import ConfigurationError

ROUTES = frozenset(["SQSRoute", "SNSQueueRoute"])


class Unreadable:
    """An expression whose value only running it would tell."""


class Name(str):
    """A name of the code with its dots, as against a text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RouteCode:
    """One route as the code makes it; what no reading tells is `Unreadable`.

    A name, like `handlers.handle_orders`, is a `Name`. `options` are those of a receive, None where
    they cannot be read.
    """

    kind: str
    queue: Any
    line: int
    options: Mapping[str, Any] | None
    keywords: Mapping[str, Any]


def parse(content: bytes, where: str) -> ast.Module:
    """A module's syntax; ConfigurationError where it has an error, with the line."""
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{where}:{line}" if line else where
        raise ConfigurationError(
            f"{place}: this is no Python ({getattr(error, 'msg', error)})"
        ) from error
    except (RecursionError, MemoryError) as error:
        raise ConfigurationError(f"{where}: its code is nested too deeply to be read") from error


def routes(module: ast.Module) -> list[RouteCode]:
    """Every route that a module makes, whatever it then does with it, in the code's order."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    found = [_route(call) for call in calls if _name(call.func) in ROUTES]
    return sorted(found, key=lambda route: route.line)


def defined(module: ast.Module) -> Mapping[str, int]:
    """The names that a module's top level defines, imports or assigns, and their lines."""
    return {name: node.lineno for node in module.body for name in _defined(node)}


def _defined(statement: ast.stmt) -> Iterator[str]:
    waiting = [statement]
    while waiting:
        node = waiting.pop()
        yield from _bound(node)
        if isinstance(node, ast.If | ast.Try):
            waiting += [*node.body, *node.orelse]


def _bound(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Import() | ast.ImportFrom():
            yield from (alias.asname or alias.name for alias in node.names)
        case ast.Assign():
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


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
    """A literal's value; of a name, or a call without arguments, the name."""
    try:
        value = ast.literal_eval(node)
        repr(value)  # it may be a number that no text can hold
    except (ValueError, TypeError, RecursionError, MemoryError):
        if isinstance(node, ast.Call) and not (node.args or node.keywords):
            node = node.func
        return Name(_name(node)) if _name(node) else Unreadable()
    return value


def _name(node: ast.expr) -> str:
    """A name with its dots, empty for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
