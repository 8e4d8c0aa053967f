"""The code that an addition puts into a service's files, and the changes of additions and removals."""

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import indent

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.project import code, locks, projects, updates
from loafer_kit.scaffold.project.code import (
    Module,
    UnrecognisedError,
    defined,
    mentions,
    names_of,
    targets,
)
from loafer_kit.scaffold.project.locks import Base, Digest, Lock
from loafer_kit.scaffold.project.plans import Change, change, is_linked, read
from loafer_kit.scaffold.rendering.quoting import python
from loafer_kit.scaffold.spec.specs import QueueSpec, TypeSpec

# The files that contain code for each queue.
_OF_PACKAGE = ("handlers.py", "payloads.py", "routes.py", "translators.py")
_TESTS = "tests/test_handlers.py"

# What ends an element of a bracketed list.
_AFTER = re.compile(rb"[ \t]*,?[ \t]*(\r?\n[ \t]*)?")

#: From a file's path and its content, or None, to its content with the addition.
Apply = Callable[[str, bytes | None], bytes | None]

#: From a file's path and its content to the content without something, None if the file goes, and
#: the things that were edited and stay.
Remove = Callable[[str, bytes], tuple[bytes | None, Sequence[str]]]


class UnplacedError(LoaferKitError):
    """The code of a file is not recognised; `snippet` is the code that it lacks."""

    def __init__(self, path: str, why: str, snippet: str) -> None:
        self.path = path
        self.why = why
        self.snippet = snippet
        super().__init__(f"{path}: {why}; it lacks\n\n{indent(snippet, '    ')}")


class LeftOutError(LoaferKitError):
    """The addition's change of a file conflicts with an edit; the text names what it lacks."""


class AdditionError(LoaferKitError):
    """Nothing was added; `unplaced` lists the code to add by hand."""

    def __init__(self, unplaced: Sequence[UnplacedError]) -> None:
        self.unplaced = tuple(unplaced)
        told = "\n\n".join(map(str, unplaced))
        super().__init__(
            "nothing was written, because some of the code is not recognised. Add the following by "
            f"hand, then run the command again for the rest.\n\n{told}"
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """Code that a module lacks, as the template writes it, and the function that inserts it."""

    text: str
    put: Callable[[Module], Module]


def changes(
    project: Path, lock: Lock | None, paths: Iterable[str], apply: Apply
) -> tuple[Change, ...]:
    """The changes of an addition; AdditionError if some of the code is not recognised."""
    changed: list[Change] = []
    unplaced: list[UnplacedError] = []
    for path, before, linked in _looked_at(project, lock, paths):
        try:
            after = _beside_link(path, apply) if linked else apply(path, before)
        except UnplacedError as error:
            unplaced.append(error)
        except LeftOutError as error:
            note = f"edited in the project{error}"
            changed.append(Change(path, "keep", before, before, note=note))
        else:
            if linked and (after is not None or not path.endswith(".py")):
                note = "a symbolic link in the project: its change is left out"
                changed.append(Change(path, "keep", None, None, note=note))
            elif after is not None and not linked:
                found = change(path, before, after)
                is_insertion = found.action == "overwrite"
                changed.append(replace(found, action="update") if is_insertion else found)
    if unplaced:
        raise AdditionError(unplaced)
    return tuple(changed)


def _looked_at(
    project: Path, lock: Lock | None, paths: Iterable[str]
) -> Iterator[tuple[str, bytes | None, bool]]:
    """The paths of a command, each with its content and whether a symbolic link leads there.

    Code is among them wherever it is; any other file that the lock keeps by its hash alone, a secret
    or a large binary, stays as it is.
    """
    bases = lock.files if lock else {}
    for path in sorted(paths):
        linked = is_linked(project, path)
        if linked or path.endswith(".py") or not isinstance(bases.get(path), Digest):
            yield path, None if linked else read(project, path), linked


def _beside_link(path: str, apply: Apply) -> bytes | None:
    """What an addition would write where a symbolic link leads; UnplacedError for code."""
    try:
        return apply(path, None)
    except UnplacedError as error:
        raise UnplacedError(path, "a symbolic link leads there", error.snippet) from error


def removed(
    project: Path, lock: Lock | None, paths: Collection[str], remove: Remove, command: str
) -> tuple[Change, ...]:
    """The changes of a removal with that of the lock, which records them as one command."""
    bases = lock.files if lock else {}
    changed: list[Change] = []
    for path, ours, linked in _looked_at(project, lock, paths):
        base = bases.get(path)
        if ours is not None:
            changed.append(_removal(path, ours, *remove(path, ours)))
        elif linked and isinstance(base, bytes) and remove(path, base)[0] != base:
            note = "a symbolic link in the project: nothing is removed there"
            changed.append(Change(path, "keep", None, None, note=note))

    def rebase(path: str, base: bytes | None) -> bytes | None:
        if base is None or path not in paths or is_linked(project, path):
            return base
        return remove(path, base)[0]

    return recorded(project, lock, changed, command, rebase)


def _removal(path: str, ours: bytes, rest: bytes | None, left: Sequence[str]) -> Change:
    note = f"left: {'; '.join(left)}" if left else ""
    if rest is None:
        return Change(path, "remove", ours, None)
    if rest == ours:
        return Change(path, "keep" if left else "unchanged", ours, ours, note=note)
    return replace(change(path, ours, rest), action="update", note=note)


def recorded(
    project: Path,
    lock: Lock | None,
    changed: Sequence[Change],
    command: str,
    rebase: Apply | None,
) -> tuple[Change, ...]:
    """The changes with that of the lock, which records them as one command.

    `rebase` makes the same addition, or removal, to the rendered files that the lock keeps.
    """
    if lock is None or not any(item.writes for item in changed):
        return tuple(changed)
    lock = updates.recorded(lock, command, changed)
    if rebase is not None:
        lock = replace(lock, files=_rebased(project, lock.files, changed, rebase))
    return (*changed, projects.lock_change(project, lock))


def _rebased(
    project: Path, files: Mapping[str, Base], changed: Sequence[Change], rebase: Apply
) -> Mapping[str, Base]:
    kept = {path: base for path, base in files.items() if isinstance(base, Digest)}
    rebased = {path: base for path, base in files.items() if isinstance(base, bytes)}
    for path in {*rebased, *(item.path for item in changed)} - kept.keys():
        with suppress(LeftOutError, UnplacedError):
            after = rebase(path, rebased.get(path))
            if after is None:
                rebased.pop(path, None)
            else:
                rebased[path] = after
    return {**locks.bases(project, rebased, files), **kept}


def missing(
    path: str, package: str, queue: QueueSpec, ours: Module, content: bytes
) -> list[Piece] | None:
    """The code of a queue that a module lacks, None if the file has no code for each queue.

    `content` is the file as the template renders it with the queue.
    """
    folder, _, name = path.rpartition("/")
    if path != _TESTS and (folder != package or name not in _OF_PACKAGE):
        return None
    rendered = Module.parse(content)
    match name:
        case "routes.py":
            return _routes_missing(ours, rendered, queue)
        case "handlers.py":
            wanted = [*queue.handlers, *filter(None, [queue.error_handler])]
        case "payloads.py":
            models = [item.name for item in rendered.tree.body if isinstance(item, ast.ClassDef)]
            wanted = models if queue.payloads else []
        case "translators.py":
            wanted = [queue.translator] if queue.translator not in (None, "", "none") else []
        case _:
            tested = {item.attr for item in ast.walk(ours.tree) if isinstance(item, ast.Attribute)}
            tests = {handler: f"test_{handler}_accepts_a_message" for handler in queue.handlers}
            if queue.error_handler:
                tests[queue.error_handler] = f"test_{queue.error_handler}_leaves_the_message"
            wanted = [test for handler, test in tests.items() if handler not in tested]
    return list(_definitions(ours, rendered, wanted))


def complete(ours: Module, pieces: list[Piece], rendered: Module, package: str) -> Module:
    """A module with the pieces inserted, and with the imports and constants that they need."""
    for piece in pieces:
        ours = _with_needed(piece.put(ours), ast.parse(piece.text), rendered, package)
    return ours


def _with_needed(ours: Module, tree: ast.AST, rendered: Module, package: str) -> Module:
    for name in sorted(names_of(tree) - set(defined(ours.tree.body))):
        source = _binding_of(rendered, name)
        if isinstance(source, (ast.Import, ast.ImportFrom)):
            ours = code.imported(ours, source, name, package)
        elif source is not None:
            ours = _with_needed(ours, source.value, rendered, package)
            ours = code.after_imports(ours, rendered.text(source))
    return ours


def definition(text: str, after: str | None = None) -> Piece:
    """A top-level function or class, to be inserted after the named one or at the end."""

    def put(module: Module) -> Module:
        body = module.tree.body
        for index, statement in enumerate(body):
            if after is not None and _name(statement) == after:
                return code.after_statement(module, body, index, text, blank_lines=2)
        return code.at_end(module, text)

    return Piece(text, put)


def _definitions(ours: Module, rendered: Module, wanted: list[str]) -> Iterator[Piece]:
    known = set(defined(ours.tree.body))
    before: str | None = None
    for statement in rendered.tree.body:
        name = _name(statement)
        if name in wanted and name not in known:
            yield definition(rendered.text(statement), before)
            known.add(name)
        if name in known:
            before = name


def _routes_missing(ours: Module, rendered: Module, queue: QueueSpec) -> list[Piece]:
    """The route of a queue, or the types that its route lacks."""
    if reads(ours.tree, queue):
        return [
            _type(type_, queue)
            for type_ in queue.types
            if not _has_handler(ours.tree, type_.handler)
        ]
    _, elements = routes(rendered)
    handler = queue.handlers[0]
    text = rendered.text(next(item for item in elements if _has_handler(item, handler)))
    return [Piece(text, lambda module: code.into_brackets(module, *routes(module), text))]


def _type(type_: TypeSpec, queue: QueueSpec) -> Piece:
    """An entry of the `by_type` of a queue's route."""
    text = f"{{{python(type_.name)}: handlers.{type_.handler}}}"

    def put(module: Module) -> Module:
        _, elements = routes(module)
        calls = [
            call
            for element in elements
            if reads(element, queue)
            for call in ast.walk(element)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "by_type"
        ]
        match calls:
            case [ast.Call(args=[_, ast.Dict() as types, *_])]:
                return code.into_dictionary(module, types, text)
        raise UnrecognisedError(f"the route of {queue.queue_name} has no by_type(…, {{…}})")

    return Piece(text, put)


def reads(tree: ast.AST, queue: QueueSpec) -> bool:
    """Whether code names a queue; if its name is read at start, the handler stands for it."""
    if any(mentions(tree, name) for name in (queue.name, queue.queue_name)):
        return True
    return queue.route_name != queue.queue_name and any(
        _has_handler(tree, handler) for handler in queue.handlers
    )


def _has_handler(tree: ast.AST, handler: str) -> bool:
    """Whether code names a handler, as a route does: `handlers.handle_orders`."""
    attributes = [item for item in ast.walk(tree) if isinstance(item, ast.Attribute)]
    return any(ast.unparse(item) == f"handlers.{handler}" for item in attributes)


def routes(module: Module) -> tuple[ast.expr, list[ast.expr]]:
    """The routes of a module, and the tuple or list that holds them."""
    found = [
        item.value
        for item in module.tree.body
        if isinstance(item, (ast.Assign, ast.AnnAssign))
        for target in targets(item)
        if isinstance(target, ast.Name) and target.id == "routes"
    ]
    if len(found) != 1 or not isinstance(found[0], (ast.Tuple, ast.List)):
        raise UnrecognisedError("it does not assign `routes = (…)` exactly once")
    return found[0], found[0].elts


def _binding_of(module: Module, name: str) -> ast.Import | ast.ImportFrom | ast.Assign | None:
    """The import or the assignment that gives a module a name."""
    for item in module.tree.body:
        if isinstance(item, (ast.Import, ast.ImportFrom, ast.Assign)) and name in defined([item]):
            return item
    return None


def _name(statement: ast.stmt) -> str | None:
    return getattr(statement, "name", None)


def without(module: Module, text: str, kept: Module | None) -> tuple[Module, list[str]]:
    """The module without a statement that has this text, or with its replacement of that name.

    A statement of the same name with another text was edited: it stays and is named.
    """
    [wanted] = ast.parse(text).body
    names = set(defined([wanted]))
    if isinstance(wanted, (ast.Import, ast.ImportFrom)) or "routes" in names:
        return module, []
    for index, statement in enumerate(module.tree.body):
        if module.text(statement) == text:
            for other in kept.tree.body if kept else ():
                if names and set(defined([other])) == names and kept is not None:
                    return code.replaced(module, index, kept.text(other)), []
            return code.cut(module, index), []
    edited = sorted(names & set(defined(module.tree.body)))
    return module, [f"{name} was edited" for name in edited]


def without_route(module: Module, queue: QueueSpec) -> tuple[Module, list[str]]:
    """The module without the route of a queue, if it assigns routes and has one."""
    if "routes" not in defined(module.tree.body):
        return module, []
    _, elements = routes(module)
    found = [item for item in elements if reads(item, queue)]
    for element in found:
        begin, end = module.begin(element), module.end(element)
        gap = _AFTER.match(module.content, end)
        content = module.content[:begin] + module.content[gap.end() if gap else end :]
        after = Module.parse(content)
        if len(routes(after)[1]) != len(elements) - 1:
            raise UnrecognisedError("it has no place for a safe removal")
        return after, []
    return module, []
