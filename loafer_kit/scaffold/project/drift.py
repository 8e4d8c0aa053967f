"""Finds where a project's spec, code and lock disagree; the code's routes are read from its syntax."""

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape_line, quoted
from loafer_kit.scaffold.project import code, journals, locks, projects, texts
from loafer_kit.scaffold.project.locks import Digest, Lock
from loafer_kit.scaffold.project.plans import VERSION, is_linked, read, read_file
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.rendering.contexts import Context
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.fields import OPTIONS
from loafer_kit.scaffold.spec.specs import Draft, ServiceSpec, SpecError

Modules = Mapping[str, ast.Module]

_ROUTES = frozenset(["AMQPRoute", "SQSRoute", "SNSQueueRoute"])
_TRANSLATOR = "EnvelopeTranslator"
# The keywords of a route that a spec can set, and their names in the spec.
_KEYWORDS = {field.keyword: field.name for field in OPTIONS if field.keyword}
_KEYWORDS |= {name: name for name in ("dead_letter_queue", "exchange", "routing_key")}
_KEYWORDS["max_deliveries"] = "max_receive_count"
_RECEIVE = {field.receive: field.name for field in OPTIONS if field.receive}
_NAMES = ("handler", "error_handler")
# The attributes of `ServiceSpec` that a spec's file calls otherwise.
_KEYS = {"ships": "list `with`"}
_UPDATE = "`loafer-kit update` updates the code"
_EITHER = f"change the code or {projects.SPEC} so that they agree"


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


@dataclass(frozen=True, slots=True)
class Drift:
    """One disagreement: its place, a sentence about it, and its remedy."""

    path: str
    line: int | None
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return escape_line(f"{where}: {self.message}; {self.remedy}")


def find(project: Path, lock: Lock) -> list[Drift]:
    """Every drift of a project, compared with its `loafer.toml`.

    SpecError if the spec has problems, ConfigurationError if code does not parse.
    """
    left = journals.interruption(project)
    found = [Drift(journals.JOURNAL, None, str(left), left.remedy)] if left else []
    found += conflicts(project, lock)
    if found or lock.template.name != "service" or projects.SPEC not in lock.files:
        return found
    if read(project, projects.SPEC) is None:
        return [Drift(projects.SPEC, None, "is missing", "restore it from your version control")]
    draft = projects.draft(project, lock)
    spec = validation.service(draft)
    try:
        before = validation.service(Draft(lock.spec, str(project / locks.PATH)))
    except SpecError:  # a release may forbid what an earlier one allowed
        return [Drift(locks.PATH, None, "its spec is no longer valid", _UPDATE)]
    for key in (field.name for field in fields(ServiceSpec) if field.name != "queues"):
        if getattr(before, key) != getattr(spec, key):
            message = f"the {_KEYS.get(key, key)} changed since the code was written"
            found.append(Drift(projects.SPEC, None, message, _UPDATE))
    changed = _changed_queues(before, spec)
    places = {queue.queue_name: index for index, queue in enumerate(spec.queues)}
    for name, message in changed.items():
        line = draft.line(("queues", places[name], "name")) if name in places else None
        found.append(Drift(projects.SPEC, line, message, _UPDATE))
    if before.package == spec.package:
        found += _disagreements(project, lock, spec, changed)
    return found


def conflicts(project: Path, lock: Lock) -> Iterator[Drift]:
    """The files in which a merge left a conflict that is not resolved yet."""
    for path, base in lock.files.items():
        if is_linked(project, path):
            continue
        content = read(project, path) or b""
        version = f"{path}{VERSION}"
        is_binary = isinstance(base, Digest) or texts.is_binary(base)
        if is_binary and version not in lock.files and (project / version).exists():
            remedy = f"keep one of the two as {path} and remove the other"
            yield Drift(version, None, f"a conflict is left with {path}", remedy)
        line = texts.conflict_line(content)
        if line is not None:
            remedy = "choose between the lines that <<<<<<< and >>>>>>> enclose"
            yield Drift(path, line, "a conflict is left", remedy)


def refuse_conflicts(
    project: Path, lock: Lock | None, paths: Collection[str] | None = None
) -> None:
    """Raise ConfigurationError if these files, or any file, hold an unresolved conflict."""
    left = [
        conflict
        for conflict in (conflicts(project, lock) if lock else ())
        if paths is None or conflict.path in paths
    ]
    if left:
        raise ConfigurationError("\n".join(map(str, left)))


def _changed_queues(before: ServiceSpec, spec: ServiceSpec) -> Mapping[str, str]:
    """The added, removed and changed queues, with a sentence about each."""
    old, new = ({queue.queue_name: queue for queue in item.queues} for item in (before, spec))
    verbs = dict.fromkeys(new.keys() - old.keys(), "was added")
    verbs |= dict.fromkeys(old.keys() - new.keys(), "was removed")
    verbs |= {name: "changed" for name in old.keys() & new.keys() if old[name] != new[name]}
    return {
        name: f"the queue {quoted(name)} {verbs[name]} since the code was written"
        for name in (*new, *old)
        if name in verbs
    }


def _disagreements(
    project: Path, lock: Lock, spec: ServiceSpec, changed: Collection[str]
) -> Iterator[Drift]:
    """The disagreements between code and spec, except those that the template itself renders."""
    paths = [
        file.relative_to(project).as_posix() for file in (project / spec.package).rglob("*.py")
    ]
    files = {path: read_file(project / path) for path in paths if (project / path).exists()}
    base = {path: file for path, file in lock.files.items() if isinstance(file, bytes)}
    rendered = {
        (drift.path, drift.message)
        for drift in in_code(modules(base, spec.package), spec, except_for=changed)
        if drift.path in base
    }
    for drift in in_code(modules(files, spec.package), spec, except_for=changed):
        if (drift.path, drift.message) not in rendered:
            yield drift


def modules(files: Mapping[str, bytes], package: str) -> Modules:
    """The parsed modules of a package; ConfigurationError if one does not parse."""
    return {
        path: code.parse(content, path)
        for path, content in sorted(files.items())
        if path.startswith(f"{package}/") and path.endswith(".py")
    }


def in_code(modules: Modules, spec: ServiceSpec, *, except_for: Collection[str]) -> Iterator[Drift]:
    """Where a package's code disagrees with the spec, except about some queues.

    The code is parsed, never imported: a value that only running it would reveal counts as right.
    """
    found = [(path, route) for path in modules for route in _routes(modules[path])]
    queues = contexts.queues(spec)
    for queue in queues:
        if queue["queue_name"] in except_for:
            continue
        routes = [(path, route) for path, route in found if _reads(route, queue)]
        if not routes:
            yield _missing_route(queue, spec.package, modules)
        for path, route in routes:
            for message in _differences(route, queue):
                yield Drift(path, route.line, message, _EITHER)
            yield from _undefined(path, route, queue, spec.package, modules)
    known = {*except_for, *(queue["queue_name"] for queue in queues)}
    for path, route in found:
        name = _queue_name(route.queue)
        if name is not None and name not in known:
            message = f"the queue {quoted(name)} is not in {projects.SPEC}"
            yield Drift(path, route.line, message, "add it there, or remove the route")


def _queue_name(queue: object) -> str | None:
    """The name of a route's queue, which may be given by name, URL or ARN."""
    if not isinstance(queue, str) or isinstance(queue, Name):
        return None
    return names.queue_name(queue).rpartition(":")[2]


def _reads(route: RouteCode, queue: Context) -> bool:
    """Whether a route reads a queue; if the code computes the name, the handler decides."""
    name = _queue_name(route.queue)
    return queue["queue_name"] == name or (name is None and _handler(route) == _wanted(queue))


def _missing_route(queue: Context, package: str, modules: Modules) -> Drift:
    path = f"{package}/routes.py"
    message = f"no route reads the queue {quoted(queue['queue_name'])}"
    remedy = f"`loafer-kit add route {queue['queue_name']}` writes one"
    if path not in modules:
        remedy = "the file is missing: restore it from your version control"
    return Drift(path, None, message, f"{remedy}, or remove the queue from {projects.SPEC}")


def _differences(route: RouteCode, queue: Context) -> Iterator[str]:
    who = f"the queue {quoted(queue['queue_name'])}"
    if route.kind != queue["route"]:
        yield f"{who} has a {route.kind} here, a {queue['route']} by {projects.SPEC}"
    yield from _difference(who, "handler", _handler(route), _wanted(queue))
    here = _last(route, "error_handler")
    yield from _difference(who, "error_handler", here, queue["error_handler"])
    opened = queue["translated"] and f"{_TRANSLATOR}({', '.join(queue['translated'])})"
    yield from _difference(who, "translator", _translator(route), opened or queue["translator"])
    for keyword, key in _KEYWORDS.items():
        yield from _difference(
            who, key, route.keywords.get(keyword), queue["keywords"].get(keyword)
        )
    if route.options is not None:
        for option, key in _RECEIVE.items():
            yield from _difference(
                who, key, route.options.get(option), queue["receive"].get(option)
            )


def _difference(who: str, key: str, here: Any, there: Any) -> Iterator[str]:
    there = None if there == "" else there
    if here != there and not isinstance(here, (Name, Unreadable)):
        said = ["not set" if value is None else quoted(str(value)) for value in (here, there)]
        yield f"{key} of {who} is {said[0]} here, {said[1]} in {projects.SPEC}"


def _handler(route: RouteCode) -> Any:
    """A handler without its module, or the text of a `by_type`."""
    value = route.keywords.get("handler")
    return value if isinstance(value, str) and "(" in value else _last(route, "handler")


def _wanted(queue: Context) -> Any:
    if queue["types"]:
        return _types_text(queue["by"], queue["types"], queue["handler"])
    return queue["handler"]


def _last(route: RouteCode, keyword: str) -> Any:
    """A keyword's value; a dotted name without its module."""
    value = route.keywords.get(keyword)
    return value.rpartition(".")[2] if isinstance(value, str) else value


def _translator(route: RouteCode) -> Any:
    if "message_translator" in route.keywords and route.keywords["message_translator"] is None:
        return "none"
    return _last(route, "message_translator")


def _undefined(
    path: str, route: RouteCode, queue: Context, package: str, modules: Modules
) -> Iterator[Drift]:
    """The names that a route takes from a module of the package that does not define them."""
    wanted = [route.keywords.get(key) for key in (*_NAMES, "message_translator")]
    payloads = [function["message"]["payload"] for function in queue["functions"]]
    wanted += [f"payloads.{payload}" for payload in payloads if payload]
    for name in wanted:
        parts: Sequence[str] = name.split(".") if isinstance(name, str) else ()
        if len(parts) != len(("module", "name")):
            continue
        module, member = parts
        places = (f"{package}/{module}.py", f"{package}/{module}/__init__.py")
        file = next((place for place in places if place in modules), None)
        if file is not None and member not in code.defined(modules[file].body):
            message = f"{file} does not define {member}, which the route of the queue "
            message += f"{quoted(queue['queue_name'])} needs"
            yield Drift(path, route.line, message, "define it there, or name another")


# The routes of the code.


def _routes(module: ast.Module) -> list[RouteCode]:
    """Every route that a module constructs, in the order of the code."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    found = [_route(call) for call in calls if _name(call.func) in _ROUTES]
    return sorted(found, key=lambda route: route.line)


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

    `EnvelopeTranslator(sns, s3)` is its own text, and `by_type(…)` that of `_types_text`.
    """
    try:
        value = ast.literal_eval(node)
        repr(value)  # a number may be too large to print
    except (ValueError, TypeError, RecursionError, MemoryError):
        if isinstance(node, ast.Call) and _name(node.func) == "by_type":
            return _types(node)
        if isinstance(node, ast.Call) and not node.keywords:
            if _name(node.func) == _TRANSLATOR:
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
                return _types_text(key, types, *map(_name, default))
    return Unreadable()


def _types_text(key: str, types: Mapping[str, str], default: str = "") -> str:
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
