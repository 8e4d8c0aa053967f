"""Completes the word at the cursor for a shell: with names from files, never from the network.

A name that loafer-kit itself would refuse is not offered: it might mean something to the shell.
"""

import io
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import redirect_stderr, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import typer

from loafer_kit.scaffold.project import code
from loafer_kit.scaffold.sources import installed
from loafer_kit.scaffold.sources.documents import LARGEST, content
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import AMQP, ARTEFACTS, EVERY, amqp_dead_letter_queue

#: Text without a special meaning to a shell or a terminal.
_PLAIN = re.compile(r"[\w@%+=:,.-]+")
#: Where bash splits a word, and the part of the word at the cursor that it then keeps.
_BREAKS = frozenset("=:")
_KEPT = ContextVar("_KEPT", default="")

Candidate = tuple[str, str]  # a value and its description
Find = Callable[[typer.Context, str], Iterator[Candidate]]


class ServiceQueue(NamedTuple):
    """What completions need of a queue in loafer.toml: names as they are in this environment.

    `route` is the name of its route, which is the same in every environment.
    """

    name: str
    route: str
    handlers: tuple[str, ...]
    dead_letter_queue: str | None


def answer(command_line: Callable[[], object]) -> None:
    """Let the command line answer the shell; an error prints nothing."""
    with redirect_stderr(io.StringIO()), suppress(Exception):
        _KEPT.set(join_words(os.environ))
        command_line()


def join_words(environment: MutableMapping[str, str]) -> str:
    """Join the words that bash split, except the one at the cursor.

    bash replaces the last part of that word; the return value is the part that it keeps.
    """
    parts = environment.get("COMP_WORDS", "").split("\n")
    position = int(environment.get("COMP_CWORD", "0"))
    if position >= len(parts):  # another shell, which splits nothing
        return ""
    words: list[str] = []
    is_open = False
    for part in parts[: position + 1]:
        is_break = part != "" and _BREAKS.issuperset(part)
        if words and part and (is_break or is_open):
            words[-1] += part
        else:
            words.append(part)
        is_open = is_break
    *before, word = words
    last = "" if is_open else parts[position]
    kept = word.removesuffix(last)
    if kept.startswith("--"):
        option, _, kept = kept.partition("=")
        before.append(option)
    environment["COMP_WORDS"] = "\n".join([*before, last])
    environment["COMP_CWORD"] = str(len(before))
    return kept


def candidates(find: Find) -> Callable[[typer.Context, str], list[Candidate]]:
    """Return what typer calls: it keeps the candidates that continue the word."""

    def found(context: typer.Context, incomplete: str) -> list[Candidate]:
        kept = _KEPT.get()
        word = kept + incomplete
        fitting: dict[str, str] = {}
        with suppress(Exception):
            for value, about in find(context, word):
                if value.startswith(word) and not (value == word and word.endswith("=")):
                    fitting.setdefault(value.removeprefix(kept), about)
        return _without_a_space(fitting)

    return found


def _without_a_space(fitting: Mapping[str, str]) -> list[Candidate]:
    """Keep a shell from adding a space after a single candidate that is not complete."""
    if len(fitting) == 1:
        [(value, about)] = fitting.items()
        if value.endswith("="):
            return [(value, about), (f"{value}VALUE", about)]
    return list(fitting.items())


@candidates
def queues(context: typer.Context, _word: str) -> Iterator[Candidate]:
    """The queues of the service."""
    return ((queue.route, "a queue of this service") for queue in service_queues(context))


@candidates
def dead_letter_queues(context: typer.Context, _word: str) -> Iterator[Candidate]:
    """The dead-letter queues of the service."""
    for queue in service_queues(context):
        if queue.dead_letter_queue:
            yield queue.dead_letter_queue, f"the dead-letter queue of {queue.name}"


@candidates
def templates(_context: typer.Context, word: str) -> Iterator[Candidate]:
    """The installed templates, then folders and zip files, as a shell completes paths."""
    for plugin in installed.plugins("templates"):
        yield plugin.name, f"of the package {plugin.package}"
    folder = Path(word if word.endswith(os.sep) else os.path.dirname(word))  # noqa: PTH120 - of ""
    start = word[: word.rfind(os.sep) + 1]
    for place in sorted(folder.iterdir()):
        is_template = place.is_dir() or place.suffix.lower() == ".zip"
        if is_template and _PLAIN.fullmatch(place.name):
            yield start + place.name, "a folder" if place.is_dir() else "a zip file"


@candidates
def sources(_context: typer.Context, _word: str) -> Iterator[Candidate]:
    """The installed sources, each before the value that it reads."""
    for plugin in installed.plugins("sources"):
        yield f"{plugin.name}=", f"of the package {plugin.package}"


@candidates
def messages(context: typer.Context, _word: str) -> Iterator[Candidate]:
    """The service's queues, each before a message body."""
    return ((f"{queue.name}=", "a queue of this service") for queue in service_queues(context))


@candidates
def missing_handlers(context: typer.Context, _word: str) -> Iterator[Candidate]:
    """The handlers that loafer.toml names and handlers.py lacks."""
    file, spec = _spec(context)
    package = spec.get("package") or names.package_for(spec["name"])
    handlers = file.parent / package / "handlers.py"
    defined = set(code.defined(code.parse(content(handlers, LARGEST), str(handlers)).body))
    for queue in service_queues(context):
        for handler in queue.handlers:
            if handler not in defined and names.function(handler) is None:
                yield handler, f"handles the messages of {queue.name}"


@candidates
def artefacts(_context: typer.Context, word: str) -> Iterator[Candidate]:
    """The artefacts of `--with`, also after a comma."""
    before, comma, _ = word.rpartition(",")
    for artefact in ARTEFACTS:
        if artefact.name not in before.split(","):
            yield f"{before}{comma}{artefact.name}", artefact.doc


@candidates
def settings(_context: typer.Context, word: str) -> Iterator[Candidate]:
    """A queue's settings after its name and a comma, and the values of a setting."""
    before, comma, pair = word.rpartition(",")
    if not comma:
        return
    key, equals, _ = pair.partition("=")
    taken = {"name", *(setting.partition("=")[0] for setting in before.split(",")[1:])}
    free = [field for field in EVERY if field.name not in taken]
    fitting = [field for field in free if f"{field.name}=".startswith(key + equals)]
    for field in fitting:
        choices = ("true", "false") if field.kind == "boolean" else field.choices
        for value in choices if choices and len(fitting) == 1 else ("",):
            yield f"{before},{field.name}={value}", field.doc


def service_queues(context: typer.Context) -> Iterator[ServiceQueue]:
    """The queues of the service whose names are known; its spec may be unfinished."""
    spec = _spec(context)[1]
    values = {
        parameter["name"]: os.environ.get(parameter["name"]) or parameter.get("default")
        for parameter in spec.get("parameters", [])
    }
    known = {name: value for name, value in values.items() if value}
    for table in spec["queues"]:
        given, target = names.queue_name(table["name"]), table.get("dead_letter_queue")
        types = table.get("types", {})
        handlers = [row.get("handler") or names.handler_for(name) for name, row in types.items()]
        if not handlers or "handler" in table:
            handlers.append(table.get("handler") or names.handler_for(given))
        with suppress(KeyError):
            name = names.fill(given, known)
            dead_letter_queue = target and names.fill(target, known)
            is_amqp = table.get("kind") == AMQP
            rule = names.amqp_queue if is_amqp else names.queue
            if all(rule(text) is None for text in (name, dead_letter_queue) if text):
                route = names.fixed_part(given)
                if is_amqp:
                    dead_letter_queue = amqp_dead_letter_queue(name, dead_letter_queue)
                yield ServiceQueue(name, route, tuple(handlers), dead_letter_queue)


def _spec(context: typer.Context) -> tuple[Path, dict[str, Any]]:
    """The loafer.toml of the folder on the command line, by default this one, and its content."""
    # While an option lacks its value, the arguments before it are left unparsed.
    named = next(iter(context.args), None) or context.params.get("path", ".")
    file = Path(named, "loafer.toml") if Path(named).is_dir() else Path(named)
    return file, tomllib.loads(content(file, LARGEST).decode())
