"""Adds a type of messages to a queue, with the handler of its own."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.additions.module import UnrecognisedError
from loafer_kit.scaffold.additions.pieces import UnplacedError
from loafer_kit.scaffold.additions.queues import QueueAddition, plan_handler, plan_route
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import texts
from loafer_kit.scaffold.project.projects import SPEC, Generator
from loafer_kit.scaffold.rendering.quoting import toml, toml_key
from loafer_kit.scaffold.sources import lines
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.specs import Draft

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class TypeAddition(QueueAddition):
    """A type that a queue gets, and the service's files without it and with it."""

    name: str = ""
    handler: str = ""

    def _edited(self, path: str, ours: bytes, before: bytes | None, after: bytes) -> bytes:
        if path != SPEC:
            return QueueAddition._edited(self, path, ours, before, after)  # noqa: SLF001
        row = f"{toml_key(self.name)} = {toml({'handler': self.handler})}"
        try:
            return _with_row(ours, self.index, self.name, self.handler, row)
        except UnrecognisedError as error:
            raise UnplacedError(SPEC, str(error), f"[queues.types]\n{row}") from error


def plan(
    draft: Draft, type_: str, queue: str, handler: str | None, generator: Generator
) -> QueueAddition:
    """The addition of a type to the queue of `loafer.toml` that has this name or URL.

    ConfigurationError if the queue has no types, or has this one with another handler.
    """
    known = plan_route(draft, queue, generator)
    wanted = handler or names.handler_for(type_)
    if not known.queue.types:
        raise ConfigurationError(
            f"{draft.origin}: the queue {quoted(known.queue.queue_name)} has no types: write `by` and "
            "`[queues.types]` there, then run `loafer-kit update`"
        )
    spec = validation.service(draft)
    for found in known.queue.types:
        if found.name == type_ and handler in (None, found.handler):
            return plan_handler(spec, known.index, generator)
        if found.name == type_:
            raise ConfigurationError(
                f"{draft.origin}: {found.handler} handles the type {quoted(type_)} already"
            )
    wider = validation.service(_widened(draft, known.index, type_, wanted))
    return TypeAddition(
        package=spec.package,
        queue=wider.queues[known.index],
        index=known.index,
        known=True,
        before=generator.service(spec).plan.files,
        after=generator.service(wider).plan.files,
        name=type_,
        handler=wanted,
    )


def _widened(draft: Draft, index: int, type_: str, handler: str) -> Draft:
    queues = list(draft.values["queues"])  # type: ignore[call-overload]
    types = {**queues[index]["types"], type_: {"handler": handler}}
    queues[index] = {**queues[index], "types": types}
    return replace(draft, values={**draft.values, "queues": queues})


def _with_row(content: bytes, index: int, name: str, handler: str, row: str) -> bytes:
    """A `loafer.toml` with one more row below the last type of a queue, and no other byte changed."""
    try:
        text = content.decode()
        mark = text[: len(text) - len(text.removeprefix(_BOM))]
        rows = re.findall(r"[^\n]*\n|[^\n]+", text.removeprefix(mark))
        values = tomllib.loads("".join(rows))
        types: Mapping[str, object] = values["queues"][index]["types"]
        places = lines.of_toml("".join(rows))
        at = max(places["queues", index, "types", known] for known in types)
        newline = texts.prevailing(content).decode()
        if not rows[at - 1].endswith("\n"):
            rows[at - 1] += newline
        rows.insert(at, row + newline)
        values["queues"][index]["types"] = {**types, name: {"handler": handler}}
        if tomllib.loads("".join(rows)) == values:
            return (mark + "".join(rows)).encode()
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        pass
    raise UnrecognisedError("the types of the queue are not rows of [queues.types]")
