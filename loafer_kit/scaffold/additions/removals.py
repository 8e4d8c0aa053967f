"""Takes a queue or a handler out of a service again; what was edited stays and is listed."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.additions import modules, pieces, spec_file
from loafer_kit.scaffold.additions.modules import Module, UnrecognisedError
from loafer_kit.scaffold.additions.queues import HandlerAddition
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import history, projects, texts, updates
from loafer_kit.scaffold.project.code import defined
from loafer_kit.scaffold.project.locks import Digest, Lock
from loafer_kit.scaffold.project.plans import Change, change, is_linked, read
from loafer_kit.scaffold.project.projects import SPEC, Generator
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft, QueueSpec

# What ends an element of a bracketed list.
_AFTER = re.compile(rb"[ \t]*,?[ \t]*(\r?\n[ \t]*)?")

#: From a file's path and its content to the content without something, None if the file goes, and
#: the things that were edited and stay.
Remove = Callable[[str, bytes], tuple[bytes | None, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class QueueRemoval:
    """A queue, and the service's files as the template renders them with it and without it."""

    package: str
    queue: QueueSpec
    index: int
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]

    def remove(self, path: str, ours: bytes) -> tuple[bytes | None, Sequence[str]]:
        """A file without the queue.

        An untouched file becomes what the template renders. From an edited module the code goes
        that is as the template wrote it; any other edited file is merged.
        """
        old = texts.like(self.before.get(path), ours)
        new = texts.like(self.after.get(path), ours)
        if old is None or old == new:
            return ours, ()
        if path == SPEC:
            return spec_file.without_queue(ours, self.index), ()
        if ours == old:
            return new, ()
        if path.endswith(".py") and new is not None:
            return self._from_module(ours, old, new)
        merge = texts.merge(old, ours, new or b"")
        if merge.conflicts or new is None:
            return ours, [f"it was edited{updates.lacking(new or b'', old, b'')}"]
        return merge.content, ()

    def _from_module(self, ours: bytes, old: bytes, new: bytes) -> tuple[bytes, Sequence[str]]:
        try:
            module, rendered = Module.parse(ours), Module.parse(old)
            kept = Module.parse(new)
            module, left = _without_route(module, self.queue)
            stays = {kept.text(item) for item in kept.tree.body}
            for text in map(rendered.text, rendered.tree.body):
                if text not in stays:
                    module, edited = _without(module, text, kept)
                    left += edited
            unused = set(defined(rendered.tree.body)) - set(defined(kept.tree.body))
            return modules.without_imports(module, unused).content, left
        except UnrecognisedError as error:
            return ours, [str(error)]


def queue(draft: Draft, name: str, generator: Generator) -> QueueRemoval:
    """The removal of a queue of `loafer.toml`; `name` is its name or URL there."""
    spec = validation.service(draft)
    found = [item for item in spec.queues if name in (item.name, item.queue_name, item.route_name)]
    if not found:
        raise ConfigurationError(f"{draft.origin}: there is no queue {quoted(name)}")
    others = tuple(item for item in spec.queues if item is not found[0])
    if not others:
        raise ConfigurationError(
            f"{draft.origin}: {quoted(name)} is the only queue, and a service needs one: "
            "add another one first"
        )
    return QueueRemoval(
        package=spec.package,
        queue=found[0],
        index=spec.queues.index(found[0]),
        before=generator.service(spec).plan.files,
        after=generator.service(replace(spec, queues=others)).plan.files,
    )


def handler(draft: Draft, name: str, lock: Lock | None) -> tuple[Remove, Sequence[str]]:
    """The function that takes a handler out of a file of a service, and the files that hold it.

    ConfigurationError if a queue of `loafer.toml` uses it.
    """
    spec = validation.service(draft)
    for item in spec.queues:
        if name in (*item.handlers, item.error_handler):
            raise ConfigurationError(
                f"{draft.origin}: the queue {quoted(item.queue_name)} uses {quoted(name)}: "
                f"`loafer-kit remove queue {item.queue_name}` removes both"
            )
    addition = HandlerAddition(spec.package, name)

    def remove(path: str, ours: bytes) -> tuple[bytes | None, Sequence[str]]:
        try:
            module, left = Module.parse(ours), []
            written = [addition.files[path]]
            base = lock.files.get(path) if lock else None
            written += [base] if isinstance(base, bytes) else []
            added = [text for content in written for text in _about(Module.parse(content), name)]
            for text in dict.fromkeys(added):
                module, edited = _without(module, text, None)
                left += edited
        except UnrecognisedError as error:
            return ours, [str(error)]
        still = [f"{item} was edited" for item in defined(module.tree.body) if _is_of(item, name)]
        unused = {
            alias for content in written for alias in defined(Module.parse(content).tree.body)
        }
        return modules.without_imports(module, unused).content, still

    return remove, tuple(addition.files)


def changes(
    project: Path, lock: Lock | None, paths: Sequence[str], remove: Remove, command: str
) -> list[Change]:
    """The changes of a removal, with that of the lock, which records them as one command."""
    files = dict(lock.files) if lock else {}
    changed: list[Change] = []
    for path in sorted(paths):
        base = files.get(path)
        if isinstance(base, Digest) and not path.endswith(".py"):
            continue
        if is_linked(project, path):
            if isinstance(base, bytes) and remove(path, base)[0] != base:
                note = "a symbolic link in the project: nothing is removed there"
                changed.append(Change(path, "keep", None, None, note=note))
            continue
        ours = read(project, path)
        if ours is not None:
            changed.append(_changed(path, ours, remove))
        if isinstance(base, bytes):
            rest, _ = remove(path, base)
            if rest is None:
                del files[path]
            else:
                files[path] = rest
    if lock is None or not any(item.writes for item in changed):
        return changed
    after = replace(history.recorded(lock, command, changed), files=files)
    return [*changed, projects.lock_change(project, after)]


def _changed(path: str, ours: bytes, remove: Remove) -> Change:
    rest, left = remove(path, ours)
    note = f"left: {'; '.join(left)}" if left else ""
    if rest is None:
        return Change(path, "remove", ours, None)
    if rest == ours:
        return Change(path, "keep" if left else "unchanged", ours, ours, note=note)
    return replace(change(path, ours, rest), action="update", note=note)


# Code.


def _is_of(name: str, handler: str) -> bool:
    return name == handler or name.startswith(f"test_{handler}_")


def _about(module: Module, handler: str) -> list[str]:
    """The definitions of a handler and of its tests."""
    return [
        module.text(item) for item in module.tree.body if _is_of(getattr(item, "name", ""), handler)
    ]


def _without(module: Module, text: str, kept: Module | None) -> tuple[Module, list[str]]:
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
                    return modules.replaced(module, index, kept.text(other)), []
            return modules.cut(module, index), []
    edited = sorted(names & set(defined(module.tree.body)))
    return module, [f"{name} was edited" for name in edited]


def _without_route(module: Module, queue: QueueSpec) -> tuple[Module, list[str]]:
    """The module without the route of a queue, if it assigns routes and has one."""
    if "routes" not in defined(module.tree.body):
        return module, []
    _, elements = pieces.routes(module)
    found = [item for item in elements if pieces.reads(item, queue)]
    for element in found:
        begin, end = module.begin(element), module.end(element)
        gap = _AFTER.match(module.content, end)
        content = module.content[:begin] + module.content[gap.end() if gap else end :]
        after = Module.parse(content)
        if len(pieces.routes(after)[1]) != len(elements) - 1:
            raise UnrecognisedError("it has no place for a safe removal")
        return after, []
    return module, []
