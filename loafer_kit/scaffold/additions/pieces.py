"""What a queue adds to each file of a service: the new code, and where in edited code it goes."""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from loafer_kit.scaffold.additions import insertion
from loafer_kit.scaffold.additions.module import (
    Module,
    UnrecognisedError,
    bound,
    mentions,
    names_of,
)
from loafer_kit.scaffold.spec.specs import QueueSpec


@dataclass(frozen=True, slots=True)
class Piece:
    """Code that a module lacks, as the template writes it, and what puts it there."""

    text: str
    put: Callable[[Module], Module]


# From the file as it is and as the template writes it, with the queue: what the former lacks.
Finder = Callable[[Module, Module, QueueSpec], Iterator[Piece]]


def finders(package: str) -> Mapping[str, Finder]:
    """The files of a service that hold code for each queue."""
    return {
        f"{package}/handlers.py": _handlers,
        f"{package}/payloads.py": _payloads,
        f"{package}/routes.py": _route,
        f"{package}/translators.py": _translator,
        "tests/test_handlers.py": _handler_tests,
        "tests/test_routes.py": _route_row,
        "tests/test_service.py": _service_test,
    }


def complete(ours: Module, pieces: list[Piece], rendered: Module, package: str) -> Module:
    """A module with its pieces, and with the imports that they need."""
    for piece in pieces:
        ours = piece.put(ours)
        for name in sorted(names_of(ast.parse(piece.text)) - set(bound(ours.tree.body))):
            source = _import_of(rendered, name)
            if source is not None:
                ours = insertion.imported(ours, source, name, package)
    return ours


def definition(text: str, after: str | None = None) -> Piece:
    """A function or a class at a module's top level, behind the one that is named."""

    def put(module: Module) -> Module:
        body = module.tree.body
        for index, statement in enumerate(body):
            if after is not None and _name(statement) == after:
                return insertion.after_statement(module, body, index, text, blank_lines=2)
        return insertion.at_end(module, text)

    return Piece(text, put)


def _handlers(ours: Module, rendered: Module, queue: QueueSpec) -> Iterator[Piece]:
    wanted = [name for name in (queue.handler, queue.error_handler) if name]
    yield from _definitions(ours, rendered, wanted)


def _translator(ours: Module, rendered: Module, queue: QueueSpec) -> Iterator[Piece]:
    if queue.translator and queue.translator != "none":
        yield from _definitions(ours, rendered, [queue.translator])


def _payloads(ours: Module, rendered: Module, queue: QueueSpec) -> Iterator[Piece]:
    if queue.payload:
        models = [item.name for item in rendered.tree.body if isinstance(item, ast.ClassDef)]
        yield from _definitions(ours, rendered, models)


def _handler_tests(ours: Module, rendered: Module, queue: QueueSpec) -> Iterator[Piece]:
    tested = {item.attr for item in ast.walk(ours.tree) if isinstance(item, ast.Attribute)}
    tests = {
        queue.handler: f"test_{queue.handler}_accepts_a_message",
        queue.error_handler: f"test_{queue.error_handler}_leaves_the_message",
    }
    wanted = [test for handler, test in tests.items() if handler and handler not in tested]
    yield from _definitions(ours, rendered, wanted)


def _definitions(ours: Module, rendered: Module, wanted: list[str]) -> Iterator[Piece]:
    known = set(bound(ours.tree.body))
    before: str | None = None
    for statement in rendered.tree.body:
        name = _name(statement)
        if name in wanted and name not in known:
            yield definition(rendered.text(statement), before)
            known.add(name)
        if name in known:
            before = name


def _route(ours: Module, rendered: Module, queue: QueueSpec) -> Iterator[Piece]:
    if not mentions(ours.tree, queue.name) and not mentions(ours.tree, queue.queue_name):
        yield _element(rendered, queue.name, _routes)


def _element(
    rendered: Module, name: str, brackets: Callable[[Module], tuple[ast.expr, list[ast.expr]]]
) -> Piece:
    """Return the rendered element that mentions `name`, to be put into the same brackets."""
    _, elements = brackets(rendered)
    text = rendered.text(next(item for item in elements if mentions(item, name)))

    def put(module: Module) -> Module:
        return insertion.into_brackets(module, *brackets(module), text)

    return Piece(text, put)


def _routes(module: Module) -> tuple[ast.expr, list[ast.expr]]:
    found = [
        item.value
        for item in module.tree.body
        if isinstance(item, (ast.Assign, ast.AnnAssign))
        for target in (item.targets if isinstance(item, ast.Assign) else [item.target])
        if isinstance(target, ast.Name) and target.id == "routes"
    ]
    if len(found) != 1 or not isinstance(found[0], (ast.Tuple, ast.List)):
        raise UnrecognisedError("there is no one `routes = (…)`")
    return found[0], found[0].elts


def _route_row(ours: Module, rendered: Module, queue: QueueSpec) -> Iterator[Piece]:
    if not mentions(ours.tree, queue.queue_name):
        yield _element(rendered, queue.queue_name, _rows)


def _rows(module: Module) -> tuple[ast.expr, list[ast.expr]]:
    found = [
        item
        for test in ast.walk(module.tree)
        if isinstance(test, ast.Assert) and isinstance(test.test, ast.Compare)
        for item in test.test.comparators
        if isinstance(item, ast.List) and all(isinstance(row, ast.Tuple) for row in item.elts)
    ]
    if len(found) != 1:
        raise UnrecognisedError("there is no one list of queues and their handlers")
    return found[0], found[0].elts


def _service_test(ours: Module, rendered: Module, queue: QueueSpec) -> Iterator[Piece]:
    if mentions(ours.tree, queue.queue_name):
        return
    create = _step(rendered, "create")[2]
    argument = next(item for item in create.args if mentions(item, queue.queue_name))
    created = rendered.text(argument)
    yield Piece(created, partial(_put_argument, created))
    sent = queue.topic or queue.queue_name
    method = "publish" if queue.topic else "send"
    if not any(mentions(call, sent) for call in _calls(ours, method)):
        call = next(call for call in _calls(rendered, method) if mentions(call, sent))
        text = rendered.text(call)
        yield Piece(text, partial(_put_sending, text))
    check = f"assert local_queues.counts({queue.queue_name!a}).total == 0".replace("'", '"')
    yield Piece(check, partial(_put_check, check))


def _put_argument(text: str, module: Module) -> Module:
    call = _step(module, "create")[2]
    return insertion.into_brackets(module, call, call.args, text)


def _put_sending(text: str, module: Module) -> Module:
    body, index, _ = _step(module, "create")
    _, run, _ = _step(module, "run", body)
    for at in range(index, run):
        if _called(body[at]) in ("create", "send", "publish"):
            index = at
    return insertion.after_statement(module, body, index, text)


def _put_check(text: str, module: Module) -> Module:
    body, _, _ = _step(module, "create")
    _, index, _ = _step(module, "run", body)
    checks = [at for at in range(index, len(body)) if isinstance(body[at], ast.Assert)]
    if checks:
        return insertion.after_statement(module, body, checks[-1], text)
    return insertion.after_statement(module, body, index, "\n" + text)


def _step(
    module: Module, method: str, within: list[ast.stmt] | None = None
) -> tuple[list[ast.stmt], int, ast.Call]:
    """The one statement of a function that calls a method: its body, its place in it, the call."""
    bodies = (
        [within]
        if within is not None
        else [item.body for item in ast.walk(module.tree) if isinstance(item, ast.FunctionDef)]
    )
    found = [
        (body, index, statement.value)
        for body in bodies
        for index, statement in enumerate(body)
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and _called(statement) == method
    ]
    if len(found) != 1:
        raise UnrecognisedError(f"there is no one statement that calls `.{method}(…)`")
    return found[0]


def _calls(module: Module, method: str) -> Iterator[ast.Call]:
    for item in ast.walk(module.tree):
        if isinstance(item, ast.Call) and _called(item) == method:
            yield item


def _called(node: ast.AST) -> str | None:
    """The method that an expression or a statement calls."""
    call = node.value if isinstance(node, ast.Expr) else node
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        return call.func.attr
    return None


def _import_of(module: Module, name: str) -> ast.Import | ast.ImportFrom | None:
    for item in module.tree.body:
        if isinstance(item, (ast.Import, ast.ImportFrom)) and name in set(bound([item])):
            return item
    return None


def _name(statement: ast.stmt) -> str | None:
    return getattr(statement, "name", None)
