"""Compares a service's spec with its code: routes, handlers, translators, models."""

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loafer_kit.scaffold.project import code, projects
from loafer_kit.scaffold.project.code import Name, RouteCode, Unreadable
from loafer_kit.scaffold.project.drifts import Drift
from loafer_kit.scaffold.project.plans import read
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.rendering.contexts import Context
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import OPTIONS
from loafer_kit.scaffold.spec.specs import ServiceSpec

# What both a spec and a route may say, by the route's name for it, and the spec's.
_KEYWORDS = {field.keyword: field.name for field in OPTIONS if field.keyword}
_KEYWORDS["dead_letter_queue"] = "dead_letter_queue"
_RECEIVE = {field.receive: field.name for field in OPTIONS if field.receive}
_NAMES = ("handler", "error_handler")
_EITHER = f"make the code or {projects.SPEC} say the other's"

Modules = Mapping[str, ast.Module]


def read_modules(project: Path, package: str) -> Modules:
    """The modules of a project's package; ConfigurationError where one does not parse."""
    paths = [file.relative_to(project).as_posix() for file in (project / package).rglob("*.py")]
    return modules({path: read(project, path) or b"" for path in paths}, package)


def modules(files: Mapping[str, bytes], package: str) -> Modules:
    """The modules of a package among the files of a project."""
    return {
        path: code.parse(content, path)
        for path, content in sorted(files.items())
        if path.startswith(f"{package}/") and path.endswith(".py")
    }


def drifts(modules: Modules, spec: ServiceSpec, *, except_for: Collection[str]) -> Iterator[Drift]:
    """Where the code of a package does not say what the spec says, some queues left out.

    Code is read, never imported: what only running it would tell is taken for right.
    """
    found = [(path, route) for path in modules for route in code.routes(modules[path])]
    queues = contexts.queues(spec)
    for queue in queues:
        if queue["queue_name"] in except_for:
            continue
        mine = [(path, route) for path, route in found if _is_for(route, queue)]
        if not mine:
            path = f"{spec.package}/routes.py"
            message = f"no route reads the queue {names.shown(queue['queue_name'])}"
            remedy = f"`loafer-kit add route {queue['queue_name']}` writes one"
            if path not in modules:
                remedy = "the file is missing: restore it from your version control"
            yield Drift(path, None, message, f"{remedy}, or take the queue out of {projects.SPEC}")
        for path, route in mine:
            for message in _differences(route, queue):
                yield Drift(path, route.line, message, _EITHER)
            yield from _missing(path, route, queue, spec.package, modules)
    known = {*except_for, *(queue["queue_name"] for queue in queues)}
    for path, route in found:
        name = _queue_name(route.queue)
        if name is not None and name not in known:
            message = f"the queue {names.shown(name)} is not in {projects.SPEC}"
            yield Drift(path, route.line, message, "add it there, or take the route out")


def _queue_name(queue: object) -> str | None:
    """The name that a route gives its queue by: a name, a URL or an ARN."""
    if not isinstance(queue, str) or isinstance(queue, Name):
        return None
    return names.queue_name(queue).rpartition(":")[2]


def _is_for(route: RouteCode, queue: Context) -> bool:
    """Whether a route reads a queue; where the name is computed, its handler tells."""
    name = _queue_name(route.queue)
    return queue["queue_name"] == name or (
        name is None and _last(route, "handler") == queue["handler"]
    )


def _differences(route: RouteCode, queue: Context) -> Iterator[str]:
    who = f"the queue {names.shown(queue['queue_name'])}"
    if route.kind != queue["route"]:
        yield f"{who} has a {route.kind} here, a {queue['route']} by {projects.SPEC}"
    for key in _NAMES:
        yield from _difference(who, key, _last(route, key), queue[key])
    yield from _difference(who, "translator", _translator(route), queue["translator"])
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
        said = ["not set" if value is None else names.shown(str(value)) for value in (here, there)]
        yield f"{key} of {who} is {said[0]} here, {said[1]} in {projects.SPEC}"


def _last(route: RouteCode, keyword: str) -> Any:
    """The name, without the module that it is taken from."""
    value = route.keywords.get(keyword)
    return value.rpartition(".")[2] if isinstance(value, str) else value


def _translator(route: RouteCode) -> Any:
    if "message_translator" in route.keywords and route.keywords["message_translator"] is None:
        return "none"
    return _last(route, "message_translator")


def _missing(
    path: str, route: RouteCode, queue: Context, package: str, modules: Modules
) -> Iterator[Drift]:
    """Names that a route takes from a module of the package which does not define them."""
    wanted = [route.keywords.get(key) for key in (*_NAMES, "message_translator")]
    if queue["payload"]:
        wanted.append(f"payloads.{queue['payload']}")
    for name in wanted:
        parts: Sequence[str] = name.split(".") if isinstance(name, str) else ()
        if len(parts) != len(("module", "name")):
            continue
        module, member = parts
        file = _file(module, package, modules)
        if file is not None and member not in code.defined(modules[file]):
            message = f"{file} does not define {member}, which the route of the queue "
            message += f"{names.shown(queue['queue_name'])} needs"
            yield Drift(path, route.line, message, "write it there, or name another")


def _file(module: str, package: str, modules: Modules) -> str | None:
    """The file of a module that the package itself has."""
    found = (f"{package}/{module}.py", f"{package}/{module}/__init__.py")
    return next((file for file in found if file in modules), None)
