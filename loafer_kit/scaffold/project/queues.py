"""Adds and removes a queue, a type of its messages or a handler: settings, code and tests together."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import code, pieces, spec_file, texts, updates
from loafer_kit.scaffold.project.code import Module, UnrecognisedError, defined
from loafer_kit.scaffold.project.locks import Lock
from loafer_kit.scaffold.project.pieces import Apply, LeftOutError, Remove, UnplacedError
from loafer_kit.scaffold.project.projects import SPEC, Generator
from loafer_kit.scaffold.sources import command_line
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.specs import Draft, Problem, QueueSpec, ServiceSpec, SpecError

Files = Mapping[str, bytes]

_HANDLER = '''
import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)


async def {name}(message: Any, metadata: Mapping[str, Any]) -> bool:
    """Handle one message.

    `message` is the decoded body, `metadata` what its queue says about it.
    """
    # TODO: do the work here.
    logger.warning("{name} is not written yet: deleted %r", message)
    return True
'''
_TEST = '''
import asyncio

from {package} import handlers


def test_{name}_accepts_a_message() -> None:
    """A handled message is deleted."""
    message = {{"hello": "world"}}

    assert asyncio.run(handlers.{name}(message, {{}})) is True
'''


@dataclass(frozen=True, slots=True)
class QueueAddition:
    """What a queue lacks, and the service's files as the template renders them without and with it.

    `put_setting` adds to `loafer.toml` what it lacks; None if it lacks nothing.
    """

    package: str
    queue: QueueSpec
    before: Files
    after: Files
    put_setting: Callable[[bytes], bytes] | None = None

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """A file of the project with the queue; UnplacedError if its code is not recognised.

        An untouched file becomes what the template renders. Code is inserted into an edited module;
        any other edited file is merged, LeftOutError if that leaves a conflict.
        """
        if path not in self.after:  # an earlier release of the template rendered it
            return ours
        if ours is None:
            return self._missing(path)
        before = texts.like(self.before.get(path), ours)
        after = texts.like(self.after[path], ours)
        if ours in (before, after):
            return after
        if before == after and path.startswith("tests/"):
            return ours
        return self._edited(path, ours, before, after)

    def _missing(self, path: str) -> bytes | None:
        """A deleted file stays deleted, unless the queue needs it."""
        if path not in self.before and self.before:
            return self.after[path]
        missing = self._missing_pieces(path, Module.parse(b""))
        if not missing or path.startswith("tests/"):
            return None
        if path in (f"{self.package}/handlers.py", f"{self.package}/routes.py"):
            raise UnplacedError(path, "it is not there", _snippet(missing))
        return self.after[path]

    def _edited(self, path: str, ours: bytes, before: bytes | None, after: bytes) -> bytes:
        if path == SPEC:
            return ours if self.put_setting is None else self.put_setting(ours)
        missing = self._missing_pieces(path, Module.parse(b""))
        if missing is not None:
            try:
                module = Module.parse(ours)
                missing = self._missing_pieces(path, module) or []
                rendered = Module.parse(self.after[path])
                return pieces.complete(module, missing, rendered, self.package).content
            except UnrecognisedError as error:
                raise UnplacedError(path, str(error), _snippet(missing)) from error
        merge = texts.merge(before or after, ours, after)
        if merge.conflicts:
            raise LeftOutError(updates.lacking(before or after, after, ours))
        return merge.content

    def _missing_pieces(self, path: str, ours: Module) -> list[pieces.Piece] | None:
        return pieces.missing(path, self.package, self.queue, ours, self.after[path])


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
            module, left = pieces.without_route(module, self.queue)
            stays = {kept.text(item) for item in kept.tree.body}
            for text in map(rendered.text, rendered.tree.body):
                if text not in stays:
                    module, edited = pieces.without(module, text, kept)
                    left += edited
            unused = set(defined(rendered.tree.body)) - set(defined(kept.tree.body))
            return code.without_imports(module, unused).content, left
        except UnrecognisedError as error:
            return ours, [str(error)]


@dataclass(frozen=True, slots=True)
class HandlerAddition:
    """A handler that no queue uses yet."""

    package: str
    name: str

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files that the handler changes, each with a module that holds its new code."""
        modules = {f"{self.package}/handlers.py": _HANDLER, "tests/test_handlers.py": _TEST}
        return {
            path: module.format(name=self.name, package=self.package).encode()
            for path, module in modules.items()
        }

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """A file with the handler or its test; UnplacedError if handlers.py is missing."""
        rendered = Module.parse(self.files[path])
        piece = pieces.definition(rendered.text(rendered.tree.body[-1]))
        if ours is None:
            if path.startswith("tests/"):
                return None
            raise UnplacedError(path, "the file is missing", piece.text)
        try:
            module = Module.parse(ours)
            if self._is_in(module):
                return ours
            return pieces.complete(module, [piece], rendered, self.package).content
        except UnrecognisedError as error:
            raise UnplacedError(path, str(error), piece.text) from error

    def _is_in(self, module: Module) -> bool:
        mentioned = {item.attr for item in ast.walk(module.tree) if isinstance(item, ast.Attribute)}
        return self.name in mentioned.union(defined(module.tree.body))


def plan(draft: Draft, text: str, generator: Generator) -> QueueAddition:
    """The addition of a queue, as typed, to the service that `loafer.toml` describes.

    `generator` is the project's. ConfigurationError if the queue exists with other settings.
    """
    spec = validation.service(draft)
    try:
        return _planned(draft, spec, text, generator)
    except SpecError as error:  # the draft is valid: the problems are of the typed text
        problems = [Problem(item.path[2:], item.message) for item in error.problems]
        raise SpecError(problems, quoted(text)) from error


def plan_route(draft: Draft, name: str, generator: Generator) -> QueueAddition:
    """The addition of the code that is missing for a queue of `loafer.toml`.

    `name` is the queue's name or URL there; ConfigurationError if there is no such queue.
    """
    spec = validation.service(draft)
    return _addition(spec, _index_of(draft, spec, name), generator)


def plan_type(
    draft: Draft, type_: str, queue: str, handler: str | None, generator: Generator
) -> QueueAddition:
    """The addition of a type to the queue of `loafer.toml` that has this name or URL.

    ConfigurationError if the queue has no types, or has this one with another handler.
    """
    spec = validation.service(draft)
    index = _index_of(draft, spec, queue)
    known = {found.name: found.handler for found in spec.queues[index].types}
    if not known:
        raise ConfigurationError(
            f"{draft.origin}: the queue {quoted(spec.queues[index].queue_name)} has no types: write "
            "`by` and `[queues.types]` there, then run `loafer-kit update`"
        )
    if type_ in known:
        if handler in (None, known[type_]):
            return _addition(spec, index, generator, has_own_tests=False)
        raise ConfigurationError(
            f"{draft.origin}: {known[type_]} handles the type {quoted(type_)} already"
        )
    wanted = handler or names.handler_for(type_)
    types = json.loads(str(names.as_json(_queues_of(draft)[index]["types"])))
    types[type_] = {"handler": wanted}
    wider = validation.service(_with_queue(draft, index, {"types": types}))
    return QueueAddition(
        package=spec.package,
        queue=wider.queues[index],
        before=generator.service(spec).plan.files,
        after=generator.service(wider).plan.files,
        put_setting=lambda ours: spec_file.with_type(ours, index, type_, wanted),
    )


def plan_handler(draft: Draft, name: str, generator: Generator) -> tuple[Apply, tuple[str, ...]]:
    """The function that adds a handler to a file of a service, and the files that it changes.

    A handler that `loafer.toml` names for a queue is written for that queue.
    """
    why = names.function(name)
    if why:
        raise ConfigurationError(why)
    spec = validation.service(draft)
    handler = HandlerAddition(spec.package, name)
    apply = handler.apply
    for index, queue in enumerate(spec.queues):
        if name in queue.handlers:
            apply = _addition(spec, index, generator, has_own_tests=False).apply
            break
    return apply, tuple(handler.files)


def plan_removal(draft: Draft, name: str, generator: Generator) -> QueueRemoval:
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


def plan_handler_removal(
    draft: Draft, name: str, lock: Lock | None
) -> tuple[Remove, Sequence[str]]:
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
                module, edited = pieces.without(module, text, None)
                left += edited
        except UnrecognisedError as error:
            return ours, [str(error)]
        still = [f"{item} was edited" for item in defined(module.tree.body) if _is_of(item, name)]
        unused = {
            alias for content in written for alias in defined(Module.parse(content).tree.body)
        }
        return code.without_imports(module, unused).content, still

    return remove, tuple(addition.files)


def _is_of(name: str, handler: str) -> bool:
    return name == handler or name.startswith(f"test_{handler}_")


def _about(module: Module, handler: str) -> list[str]:
    """The definitions of a handler and of its tests."""
    return [
        module.text(item) for item in module.tree.body if _is_of(getattr(item, "name", ""), handler)
    ]


def _planned(draft: Draft, spec: ServiceSpec, text: str, generator: Generator) -> QueueAddition:
    typed = command_line.merge(replace(draft, values={**draft.values, "queues": []}), None, [text])
    values = _queues_of(typed)[0]
    name = names.queue_name(str(values["name"]))
    for index, queue in enumerate(spec.queues):
        if queue.queue_name == name:
            same = _with_queue(draft, index, {**values, "name": queue.name})
            if validation.service(same).queues[index] != queue:
                raise ConfigurationError(
                    f"{draft.origin}: the queue {quoted(name)} is there already with other "
                    "settings; change them there, then run `loafer-kit update`"
                )
            return _addition(spec, index, generator)
    index = len(spec.queues)
    addition = _addition(
        validation.service(command_line.merge(draft, None, [text])), index, generator
    )

    def put(ours: bytes) -> bytes:
        return spec_file.with_queue(ours, spec_file.table_of(addition.after[SPEC], index))

    return replace(addition, put_setting=put)


def _addition(
    spec: ServiceSpec, index: int, generator: Generator, *, has_own_tests: bool = True
) -> QueueAddition:
    """The addition of one queue of a spec; its tests get a file unless the lock has them."""
    queue = spec.queues[index]
    others = tuple(item for item in spec.queues if item is not queue)
    before = generator.service(replace(spec, queues=others)).plan.files if others else {}
    has_own_tests = has_own_tests and queue.queue_name not in generator.locked_queues()
    separate_tests = (queue.queue_name,) if has_own_tests else ()
    after = generator.service(spec, separate_tests).plan.files
    if before and not has_own_tests:  # the lock has the queue's tests: deleted ones stay deleted
        tests = {path: file for path, file in after.items() if path.startswith("tests/")}
        before = {**tests, **before}
    return QueueAddition(spec.package, queue, before, after)


def _index_of(draft: Draft, spec: ServiceSpec, name: str) -> int:
    for index, queue in enumerate(spec.queues):
        if name in (queue.name, queue.queue_name, queue.route_name):
            return index
    if "," in name:
        why = f"a route has the settings of its queue, which are in {draft.origin}"
        raise ConfigurationError(f"{quoted(name)}: {why}")
    known = [queue.queue_name for queue in spec.queues]
    hint = names.did_you_mean(names.queue_name(name), known) or ";"
    raise ConfigurationError(
        f"{draft.origin}: there is no queue {quoted(name)}{hint} "
        "`loafer-kit add queue NAME` adds a queue and its route"
    )


def _queues_of(draft: Draft) -> list[dict[str, Any]]:
    queues: list[dict[str, Any]] = draft.values["queues"]  # type: ignore[assignment]
    return [*queues]


def _with_queue(draft: Draft, index: int, settings: Mapping[str, object]) -> Draft:
    """The draft with other settings of one queue."""
    queues = _queues_of(draft)
    queues[index] = {**queues[index], **settings}
    return replace(draft, values={**draft.values, "queues": queues})


def _snippet(missing: list[pieces.Piece]) -> str:
    return "\n\n".join(piece.text for piece in missing)
