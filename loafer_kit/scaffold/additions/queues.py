"""Adds a queue to a service: its settings, its code and its tests change together."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.additions import pieces
from loafer_kit.scaffold.additions.module import Module, UnrecognisedError
from loafer_kit.scaffold.additions.pieces import LeftOutError, UnplacedError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import line_ends, merges, updates
from loafer_kit.scaffold.project.projects import SPEC, Generator
from loafer_kit.scaffold.sources import flags, lines
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.specs import Draft, Problem, QueueSpec, ServiceSpec, SpecError

Files = Mapping[str, bytes]

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class QueueAddition:
    """A queue, and the service's files as the template renders them without it and with it."""

    package: str
    queue: QueueSpec
    index: int
    known: bool
    before: Files
    after: Files

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """A file of the project with the queue; UnplacedError if its code is not recognised.

        An untouched file becomes what the template renders. Code is inserted into an edited module;
        any other edited file is merged, LeftOutError if that leaves a conflict.
        """
        if path not in self.after:  # an earlier release of the template rendered it
            return ours
        if ours is None:
            return self._missing(path)
        before = line_ends.like(self.before.get(path), ours)
        after = line_ends.like(self.after[path], ours)
        if ours in (before, after):
            return after
        if before == after and path.startswith("tests/"):
            return ours
        return self._edited(path, ours, before, after)

    def _missing(self, path: str) -> bytes | None:
        """A deleted file stays deleted, unless the queue needs it."""
        if path not in self.before and self.before:
            return self.after[path]
        missing = self._pieces(path, Module.parse(b""))
        if not missing or path.startswith("tests/"):
            return None
        if path in (f"{self.package}/handlers.py", f"{self.package}/routes.py"):
            raise UnplacedError(path, "it is not there", _snippet(missing))
        return self.after[path]

    def _edited(self, path: str, ours: bytes, before: bytes | None, after: bytes) -> bytes:
        if path == SPEC:
            return ours if self.known else self._with_settings(ours)
        if path in pieces.finders(self.package):
            return self._with_pieces(path, ours)
        merge = merges.merge(before or after, ours, after)
        if merge.conflicts:
            raise LeftOutError(updates.lacking(before or after, after, ours))
        return merge.content

    def _with_settings(self, ours: bytes) -> bytes:
        table = _table(self.after[SPEC], self.index)
        try:
            return _with_table(ours, table)
        except UnrecognisedError as error:
            raise UnplacedError(SPEC, str(error), table) from error

    def _with_pieces(self, path: str, ours: bytes) -> bytes:
        missing = self._pieces(path, Module.parse(b""))
        try:
            module = Module.parse(ours)
            missing = self._pieces(path, module)
            rendered = Module.parse(self.after[path])
            return pieces.complete(module, missing, rendered, self.package).content
        except UnrecognisedError as error:
            raise UnplacedError(path, str(error), _snippet(missing)) from error

    def _pieces(self, path: str, ours: Module) -> list[pieces.Piece]:
        find = pieces.finders(self.package).get(path)
        return list(find(ours, Module.parse(self.after[path]), self.queue)) if find else []


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
    for index, queue in enumerate(spec.queues):
        if name in (queue.name, queue.queue_name, queue.route_name):
            return _addition(spec, index, generator, known=True)
    if "," in name:
        why = f"a route has the settings of its queue, which are in {draft.origin}"
        raise ConfigurationError(f"{quoted(name)}: {why}")
    known = [queue.queue_name for queue in spec.queues]
    near = get_close_matches(names.queue_name(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigurationError(
        f"{draft.origin}: there is no queue {quoted(name)}; {hint}"
        "`loafer-kit add queue NAME` adds a queue and its route"
    )


def plan_handler(spec: ServiceSpec, index: int, generator: Generator) -> QueueAddition:
    """The addition of the code for one queue's handler; its test goes beside the others."""
    return _rendered(spec, index, generator, known=True, separate_tests=())


def _planned(draft: Draft, spec: ServiceSpec, text: str, generator: Generator) -> QueueAddition:
    typed = flags.merge(replace(draft, values={**draft.values, "queues": []}), None, [text])
    values = typed.values["queues"][0]  # type: ignore[index]
    name = names.queue_name(str(values["name"]))
    known = [index for index, queue in enumerate(spec.queues) if queue.queue_name == name]
    if known:
        _refuse_other_settings(draft, spec, known[0], values)
        return _addition(spec, known[0], generator, known=True)
    wider = validation.service(flags.merge(draft, None, [text]))
    return _addition(wider, len(spec.queues), generator, known=False)


def _addition(spec: ServiceSpec, index: int, generator: Generator, *, known: bool) -> QueueAddition:
    """The addition of one queue of a spec; its tests get a file unless the lock has them."""
    name = spec.queues[index].queue_name
    separate_tests = () if name in generator.locked_queues() else (name,)
    return _rendered(spec, index, generator, known=known, separate_tests=separate_tests)


def _rendered(
    spec: ServiceSpec,
    index: int,
    generator: Generator,
    *,
    known: bool,
    separate_tests: tuple[str, ...],
) -> QueueAddition:
    queue = spec.queues[index]
    others = tuple(item for item in spec.queues if item is not queue)
    before = generator.service(replace(spec, queues=others)).plan.files if others else {}
    after = generator.service(spec, separate_tests=separate_tests).plan.files
    if before and not separate_tests:  # the lock has the queue's tests: deleted ones stay deleted
        tests = {path: file for path, file in after.items() if path.startswith("tests/")}
        before = {**tests, **before}
    return QueueAddition(
        package=spec.package,
        queue=queue,
        index=index,
        known=known,
        before=before,
        after=after,
    )


def _refuse_other_settings(
    draft: Draft, spec: ServiceSpec, index: int, typed: Mapping[str, object]
) -> None:
    queues = list(draft.values["queues"])  # type: ignore[call-overload]
    queues[index] = {**queues[index], **typed, "name": spec.queues[index].name}
    wanted = validation.service(Draft({**draft.values, "queues": queues})).queues[index]
    if wanted != spec.queues[index]:
        raise ConfigurationError(
            f"{draft.origin}: the queue {quoted(wanted.queue_name)} is there already with other "
            "settings; change them there, then run `loafer-kit update`"
        )


def _snippet(missing: list[pieces.Piece]) -> str:
    return "\n\n".join(piece.text for piece in missing)


# The queue's table in a `loafer.toml` that may have been edited.


def _table(rendered: bytes, index: int) -> str:
    """The table of one queue as the template renders it."""
    text = rendered.decode()
    start = lines.of_toml(text)["queues", index]
    return "\n".join(text.split("\n")[start - 1 :]).partition("\n\n")[0].rstrip("\n")


def _with_table(content: bytes, table: str) -> bytes:
    """The file with one more table after the last queue, and no other byte changed.

    UnrecognisedError if there is no place for the table, or if the file is not a service's.
    """
    try:
        text = content.decode()
        values = tomllib.loads(text.removeprefix(_BOM))
        at = _end_of_queues(text, len(values["queues"]))
        values["queues"] += tomllib.loads(table)["queues"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnrecognisedError("it has no list of [[queues]] tables") from error
    newline = line_ends.prevailing(content).decode()
    lead = "" if text[:at].endswith("\n") else newline
    gap = newline if at < len(text) else ""
    added = f"{lead}{newline}" + table.replace("\n", newline) + newline + gap
    if at < len(text):
        added = added.removeprefix(newline)
    after = text[:at] + added + text[at:]
    try:
        proved = tomllib.loads(after.removeprefix(_BOM)) == values
    except tomllib.TOMLDecodeError:
        proved = False
    if not proved:
        raise UnrecognisedError("it has no place for one more [[queues]] table")
    return after.encode()


def _end_of_queues(text: str, count: int) -> int:
    """The offset of the first table after the last queue, with its comment; or the end."""
    places = lines.of_toml(text.removeprefix(_BOM))
    last = places.get(("queues", count - 1), 0)
    later = [line for path, line in places.items() if path[0] != "queues" and line > last]
    if not later:
        return len(text)
    rows = re.findall(r"[^\n]*\n|[^\n]+", text)
    line = min(later) - 1
    while line > last and rows[line - 1].lstrip().startswith("#"):
        line -= 1
    return sum(map(len, rows[:line]))
