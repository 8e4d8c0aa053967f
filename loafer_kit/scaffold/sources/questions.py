"""Asks a person for the missing parts of a spec, again after an invalid answer."""

from dataclasses import replace
from typing import Any, Protocol, cast

from loafer_kit.scaffold.sources import flags
from loafer_kit.scaffold.spec import extensions, names
from loafer_kit.scaffold.spec.fields import ENVELOPES
from loafer_kit.scaffold.spec.specs import Draft, Path, Problem, SpecError
from loafer_kit.scaffold.spec.validation import problems_of


class Person(Protocol):
    """The person who answers, usually at a terminal."""

    def ask(self, question: str, default: str | None) -> str:
        """Return the answer; the default if the answer is empty and there is one."""

    def confirm(self, question: str, *, default: bool = False) -> bool:
        """Return whether the answer is yes; an empty answer stands for the default."""

    def tell(self, text: str) -> None:
        """Say what is wrong with an answer."""


Values = dict[str, object]


def complete(draft: Draft, person: Person) -> Draft:
    """The draft with a name and queues; the person is asked for what it lacks."""
    values: Values = dict(draft.values)
    if "name" not in values:
        _ask(values, ("name",), "Name of the service", None, person)
    if not values.get("queues"):
        values["queues"] = []
        _ask_for_queue(values, person)
        while person.confirm("Another queue?"):
            _ask_for_queue(values, person)
    return replace(draft, values=values)


def name_of_extension(person: Person) -> str:
    """Ask for an extension's name until it is valid."""
    while True:
        name = person.ask("Name of the extension", extensions.DEFAULT_NAME).strip()
        problems = list(extensions.name_problems(name))
        if not problems:
            return name
        for problem in problems:
            person.tell(problem.message)


def _ask_for_queue(values: Values, person: Person) -> None:
    queues = cast("list[Values]", values["queues"])
    place: Path = ("queues", len(queues))
    queue = _ask_for_name(values, place, person)
    queues.append(queue)

    def ask(key: str, question: str, default: str | None = None) -> str:
        return _ask(values, (*place, key), question, default, person)

    name = str(queue["name"])
    if "kind" not in queue and "topic" not in queue:
        ask(
            "kind",
            f"Kind (sqs, sns for a queue subscribed to a topic, {', '.join(ENVELOPES)})",
            "sqs",
        )
    if queue.get("kind") == "sns" and "topic" not in queue:
        topic = ask("topic", "Topic", names.queue_name(name))
        if not topic.startswith("arn:") and not person.confirm(
            "Create the topic? Answer n for one that exists.", default=True
        ):
            queue["topic"] = {"name": topic, "create": False}
    if "handler" not in queue:
        ask("handler", "Handler", names.handler_for(name))
    if "dead_letter_queue" not in queue and person.confirm(
        "With a dead-letter queue?", default=True
    ):
        ask("dead_letter_queue", "Dead-letter queue", _dead_letter_queue_for(name))


def _ask_for_name(values: Values, place: Path, person: Person) -> Values:
    """Ask for a queue's name, and its settings in the form of `--queue`."""
    while True:
        answer = person.ask("Queue (name or URL)", None).strip()
        try:
            typed = flags.merge(Draft(values), None, [answer])
        except SpecError as error:
            problems = list(error.problems)
        else:
            queue = dict(cast("list[Values]", typed.values["queues"])[-1])
            own = {(*place, key) for key in queue}
            problems = [problem for problem in problems_of(typed) if problem.path in own]
            if not problems:
                return queue
        for problem in problems:
            key = problem.path[2:]
            person.tell(str(Problem(() if key == ("name",) else key, problem.message)))


def _dead_letter_queue_for(name: str) -> str:
    bare = names.queue_name(name)
    return f"{bare.removesuffix('.fifo')}-dlq{'.fifo' if bare.endswith('.fifo') else ''}"


def _ask(values: Values, path: Path, question: str, default: str | None, person: Person) -> str:
    """Ask until the answer has no problem; it is stored at its path in the values."""
    table: Any = values
    for step in path[:-1]:
        table = table[step]
    while True:
        answer = table[path[-1]] = person.ask(question, default).strip()
        problems = [item.message for item in problems_of(Draft(values)) if item.path == path]
        if not problems:
            return answer
        for problem in problems:
            person.tell(problem)
