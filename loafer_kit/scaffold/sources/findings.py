"""What a source finds: queues, subscriptions and models, made into the draft of a service."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources.documents import Document
from loafer_kit.scaffold.sources.keys import Keys
from loafer_kit.scaffold.sources.nodes import Node
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.drafts import Draft
from loafer_kit.scaffold.spec.problems import Path, Problem

# A place and what is to be said of it; said once, however often it is met.
_Remark = tuple[Path, str]


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, where it is described, and what stands there for keys of the spec."""

    name: str
    node: Node
    settings: dict[str, Node]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A queue that gets what is published to a topic; `raw`: without SNS's envelope."""

    topic: str
    queue: str
    node: Node
    raw: bool = False


@dataclass(slots=True)
class ImportResult:
    """What has been found so far, with what is wrong and what no spec can say."""

    queues: list[Queue] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    #: What takes messages from a queue, by the queue's name.
    readers: list[tuple[str, Node]] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    problems: dict[_Remark, None] = field(default_factory=dict)
    notes: dict[_Remark, None] = field(default_factory=dict)
    places: dict[Path, Path] = field(default_factory=dict)

    def problem(self, node: Node, message: str) -> None:
        """Something that keeps the document from being used."""
        self.problems[node.path, message] = None

    def note(self, node: Node, message: str) -> None:
        """Something that the spec does not say."""
        self.notes[node.path, message] = None

    def left_out(self, node: Node, keys: Keys, what: str = "") -> None:
        """Note the keys of a table that the spec does not say; `what` is the table, to a reader.

        The one way in which keys are left out: nothing that a source meets is dropped in silence.
        """
        unsaid = [names.shown(key).strip("'") for key in keys.unsaid(node)]
        if unsaid:
            begin = f"{what}: " if what else ""
            self.note(node, f"{begin}the spec does not say: {', '.join(unsaid)}")

    def dead_letter_queues(self) -> set[str]:
        """The queues that get no handler because they are others' dead-letter queues.

        Empty where each is another's: none of them is only a dead-letter queue then.
        """
        queues = {queue.name for queue in self.queues}
        targets = {
            target
            for queue in self.queues
            if (target := queue.settings.get("dead_letter_queue", _NOWHERE).text)
            and target != queue.name  # which is a problem, and for validation to tell
        }
        found = queues & targets
        return set() if found == queues else found

    def draft(self, origin: str, line: Callable[[Path], int | None]) -> Draft:
        """The draft of a service that handles the messages of the queues."""
        self._note_without_handler()
        queues = [self._settings(index, queue) for index, queue in enumerate(self._handled())]
        _tell_handlers_apart(queues)
        places = dict(self.places)

        def line_of(path: Path) -> int | None:
            while path and path not in places:
                path = path[:-1]
            return line(places.get(path, ()))

        def located(found: Iterable[_Remark]) -> list[Problem]:
            problems = [Problem(path, message, line(path)) for path, message in found]
            return sorted(problems, key=lambda problem: problem.line or 0)

        return Draft(
            {**self.values, "queues": queues},
            origin,
            line_of,
            located(self.problems),
            located(self.notes),
        )

    def _handled(self) -> list[Queue]:
        """The queues that are nobody's dead-letter queue."""
        others = self.dead_letter_queues()
        return [queue for queue in self.queues if queue.name not in others]

    def _note_without_handler(self) -> None:
        """What brings messages to a dead-letter queue, or takes them from it, is left out too."""
        others = self.dead_letter_queues()
        subscribed = [(item.queue, item.node) for item in self.subscriptions]
        for name, node in [*subscribed, *self.readers]:
            if name in others:
                self.note(node, f"{names.shown(name)} is a dead-letter queue: it gets no handler")

    def _settings(self, index: int, queue: Queue) -> dict[str, object]:
        settings = {"name": queue.node.with_value(queue.name), **queue.settings}
        settings |= self._topic(queue)
        place: Path = ("queues", index)
        self.places[place] = queue.node.path
        self.places |= {(*place, key): node.path for key, node in settings.items()}
        return {key: node.value for key, node in settings.items()}

    def _topic(self, queue: Queue) -> Mapping[str, Node]:
        found = [item for item in self.subscriptions if item.queue == queue.name]
        enveloped = [item for item in found if not item.raw]
        for item in found:
            if item.raw:
                what = "delivers raw messages: to the handler they are the queue's own"
            elif item is enveloped[0]:
                continue
            else:
                first = names.shown(enveloped[0].topic)
                what = f"is one topic more than a queue can have; the first is {first}"
            self.note(item.node, f"{names.shown(item.topic)} {what}")
        if not enveloped:
            return {}
        node = enveloped[0].node
        return {"kind": node.with_value("sns"), "topic": node.with_value(enveloped[0].topic)}


def draft_of(document: Document, read: Callable[[Node], ImportResult]) -> Draft:
    """The draft that a document's reader finds."""
    try:
        findings = read(Node(document.values))
    except RecursionError as error:
        raise ConfigurationError(f"{document.origin}: nested too deeply") from error
    return findings.draft(document.origin, document.line)


_NOWHERE = Node(None)
_MOST_MESSAGES = 10


def whole_number(node: Node) -> Node:
    """The place with a number for a text of digits; validation judges everything else."""
    text = node.value
    if isinstance(text, str) and re.fullmatch(r"[0-9]{1,18}", text):
        return node.with_value(int(text))
    return node


def last_part(arn_or_url: str) -> str:
    """The name at the end of an ARN, or of a queue's URL."""
    return re.split(r"[:/]", arn_or_url)[-1]


def most_messages(node: Node, findings: ImportResult) -> dict[str, Node]:
    """The setting for the size of a function's batches, where one receive can bring as many."""
    size = whole_number(node)
    if not isinstance(size.value, int) or 1 <= size.value <= _MOST_MESSAGES:
        return {"batch_size": size} if size.is_there else {}
    findings.note(node, f"one receive brings {_MOST_MESSAGES} messages at most")
    return {}


def _tell_handlers_apart(queues: Sequence[dict[str, object]]) -> None:
    """Queues may differ in what a handler's name leaves out."""
    used: set[object] = {queue.get("handler") for queue in queues}
    for queue in queues:
        if "handler" in queue:
            continue
        handler = first = names.handler_for(str(queue["name"]))
        number = 2
        while handler in used:
            handler, number = f"{first}_{number}", number + 1
        used.add(handler)
        if handler != first:
            queue["handler"] = handler
