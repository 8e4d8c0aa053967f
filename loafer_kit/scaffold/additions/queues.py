"""A queue more in a service: its spec, its code and its tests change together."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.additions import pieces, settings
from loafer_kit.scaffold.additions.module import Module, UnrecognisedError
from loafer_kit.scaffold.additions.results import LeftOutError, UnplacedError
from loafer_kit.scaffold.project import line_ends, merges
from loafer_kit.scaffold.project.projects import Generator
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import flags
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.problems import Problem, SpecError
from loafer_kit.scaffold.spec.specs import Draft, QueueSpec, ServiceSpec

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class QueueAddition:
    """A queue and what the template makes of the service without it and with it."""

    package: str
    queue: QueueSpec
    index: int
    known: bool
    before: Files
    after: Files

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """A file of the project with the queue; UnplacedError where its code is not recognised.

        An untouched file becomes what the template renders. Edited code is only inserted into;
        any other edited file is merged, LeftOutError where that is not possible.
        """
        if path not in self.after:  # an earlier release of the template wrote it
            return ours
        if ours is None:
            return self._missing(path)
        before = line_ends.like(self.before.get(path), ours)
        after = line_ends.like(self.after[path], ours)
        if ours in (before, after):
            return after
        return self._edited(path, ours, before, after)

    def _missing(self, path: str) -> bytes | None:
        """What was deleted stays deleted, unless the queue cannot do without it."""
        if path not in self.before and self.before:
            return self.after[path]
        missing = self._pieces(path, Module.parse(b""))
        if not missing or path.startswith("tests/"):
            return None
        if path in (f"{self.package}/handlers.py", f"{self.package}/routes.py"):
            raise UnplacedError(path, "it is not there", _snippet(missing))
        return self.after[path]

    def _edited(self, path: str, ours: bytes, before: bytes | None, after: bytes) -> bytes:
        if path == "loafer.toml":
            return ours if self.known else self._with_settings(ours)
        if path in pieces.finders(self.package):
            return self._with_pieces(path, ours)
        merge = merges.merge(before or after, ours, after)
        if merge.conflicts:
            raise LeftOutError
        return merge.content

    def _with_settings(self, ours: bytes) -> bytes:
        table = settings.block(self.after["loafer.toml"], self.index)
        try:
            return settings.with_queue(ours, table)
        except UnrecognisedError as error:
            raise UnplacedError("loafer.toml", str(error), table) from error

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


def plan(draft: Draft, text: str, maker: Generator) -> QueueAddition:
    """The addition of a queue, as it was typed, to what `loafer.toml` says.

    `maker` is the template that made the service.

    ConfigurationError where the queue is there already with other settings.
    """
    spec = validation.service(draft)
    try:
        return _planned(draft, spec, text, maker)
    except SpecError as error:  # the draft has none: these are of what was typed
        problems = [Problem(item.path[2:], item.message) for item in error.problems]
        raise SpecError(problems, names.shown(text)) from error


def plan_route(draft: Draft, name: str, maker: Generator) -> QueueAddition:
    """The addition of what the code lacks of a queue that `loafer.toml` has, by its name or URL there.

    ConfigurationError where it has none of that name.
    """
    spec = validation.service(draft)
    for index, queue in enumerate(spec.queues):
        if name in (queue.name, queue.queue_name):
            return _addition(spec, index, maker, known=True)
    if "," in name:
        why = f"a route has the settings of its queue, which stand in {draft.origin}"
        raise ConfigurationError(f"{names.shown(name)}: {why}")
    known = [queue.queue_name for queue in spec.queues]
    near = get_close_matches(names.queue_name(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigurationError(
        f"{draft.origin}: there is no queue {names.shown(name)}; {hint}"
        "`loafer-kit add queue NAME` adds a queue and its route"
    )


def _planned(draft: Draft, spec: ServiceSpec, text: str, maker: Generator) -> QueueAddition:
    typed = flags.merge(replace(draft, values={**draft.values, "queues": []}), None, [text])
    values = typed.values["queues"][0]  # type: ignore[index]
    name = names.queue_name(str(values["name"]))
    known = [index for index, queue in enumerate(spec.queues) if queue.queue_name == name]
    if known:
        _refuse_other_settings(draft, spec, known[0], values)
        return _addition(spec, known[0], maker, known=True)
    wider = validation.service(flags.merge(draft, None, [text]))
    return _addition(wider, len(spec.queues), maker, known=False)


def _addition(spec: ServiceSpec, index: int, maker: Generator, *, known: bool) -> QueueAddition:
    """The addition of one queue of a spec, which the code may lack."""
    queue = spec.queues[index]
    others = tuple(item for item in spec.queues if item is not queue)
    return QueueAddition(
        package=spec.package,
        queue=queue,
        index=index,
        known=known,
        before=_rendered(replace(spec, queues=others), maker) if others else {},
        after=_rendered(spec, maker),
    )


def _refuse_other_settings(
    draft: Draft, spec: ServiceSpec, index: int, typed: Mapping[str, object]
) -> None:
    queues = list(draft.values["queues"])  # type: ignore[call-overload]
    queues[index] = {**queues[index], **typed, "name": spec.queues[index].name}
    wanted = validation.service(Draft({**draft.values, "queues": queues})).queues[index]
    if wanted != spec.queues[index]:
        raise ConfigurationError(
            f"{draft.origin}: the queue {names.shown(wanted.queue_name)} is there already with other "
            "settings; change them there, then run `loafer-kit update`"
        )


def _rendered(spec: ServiceSpec, maker: Generator) -> Files:
    return maker.render(contexts.service(spec)).plan.files


def _snippet(missing: list[pieces.Piece]) -> str:
    return "\n\n".join(piece.text for piece in missing)
