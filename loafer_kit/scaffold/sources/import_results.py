"""The result of importing a document: queues, subscriptions, models, problems and notes.

A source describes what it finds; `ImportResult.draft` makes the draft of a service of it. The
functions read what all documents say in the same way: attributes, dead-letter targets, names.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources.documents import Document, Node
from loafer_kit.scaffold.sources.senders import Senders
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import DEFAULT_VISIBILITY_TIMEOUT, FIFO, SUBSCRIPTION, Field
from loafer_kit.scaffold.spec.specs import Draft, Parameter, Path, Problem

# A place and a message about it; the same remark is kept once.
_Remark = tuple[Path, str]

_NOWHERE = Node(None)
_MOST_MESSAGES = 10  # AWS's limit of one receive
_EMPTY: tuple[object, ...] = (None, "", [], {})
# Subscriptions, functions, rules, schedules, pipes and buses name their dead-letter targets by similar
# keys: `RedrivePolicy`, `DeadLetterConfig`, `dead_letter_config`, `OnFailure`.
_DEAD_LETTER_KEY = re.compile(
    r"dead_?letter.*|on_?failure|on_?error|error_?action|redrive_?policy",
    re.IGNORECASE,
)

#: The keys of one kind of table, each with the values that need no note: None for any value.
Keys = Mapping[str, Sequence[str] | None]


def keys(known: str, **defaults: str) -> Keys:
    """Keys from texts with spaces between words; each key that is not listed is noted.

    The keys in `known` become parts of the spec, or never matter to a consumer: ids, descriptions,
    values that a provider computes, keys of other protocols. `defaults` has the values that AWS
    itself uses, as lower-case texts.
    """
    return {key: text.split() for key, text in defaults.items()} | dict.fromkeys(known.split())


def queue_keys(
    known: str, settings: str, named: Callable[[Field], str], **defaults: str
) -> tuple[Keys, Keys]:
    """The keys of a queue, and those of a dead-letter queue, of which a spec has the name alone.

    `named` is how the document names the settings of a FIFO queue.
    """
    fifo = {named(row): str(row.default).lower() for row in FIFO}
    return (
        keys(" ".join([known, settings, *fifo]), **defaults),
        keys(known, **defaults, **fifo),
    )


def _needs_note(key: str, value: object, known: Keys) -> bool:
    # `x-` begins the extensions of AsyncAPI, and the anchors of YAML templates.
    if key.startswith("x-") or value in _EMPTY:
        return False
    values = known.get(key, ())
    return values is not None and str(value).lower() not in values


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue: its name, the place that describes it, and a place for each key of the spec."""

    name: str
    node: Node
    settings: dict[str, Node]

    @property
    def target(self) -> str | None:
        """The name of its dead-letter queue."""
        return self.settings.get("dead_letter_queue", _NOWHERE).text


@dataclass(frozen=True, slots=True)
class Subscription:
    """A queue's subscription to a topic, and a place for each of its settings.

    A topic with an `arn` exists, and so does one with `exists` in the account of the queue.
    """

    topic: str
    queue: str
    node: Node
    settings: Mapping[str, Node] = field(default_factory=dict)
    arn: str | None = None
    exists: bool = False

    @property
    def raw(self) -> bool:
        """Whether messages arrive without SNS's envelope."""
        return self.settings.get("raw_message_delivery", _NOWHERE).value is True

    @property
    def topic_value(self) -> object:
        """The topic as a spec names it."""
        if self.arn is None and self.exists:
            return {"name": self.topic, "create": False}
        return self.arn or self.topic


@dataclass(slots=True)
class ImportResult:
    """The contents of a document so far, its problems, and notes on what a spec cannot express."""

    #: The queues by their names.
    queues: dict[str, Queue] = field(default_factory=dict)
    subscriptions: list[Subscription] = field(default_factory=list)
    #: The consumers of queues, each with its queue's name.
    readers: list[tuple[str, Node]] = field(default_factory=list)
    senders: Senders = field(default_factory=Senders)
    #: The dead-letter queues that anything but a queue of the spec names, each with its owners.
    dead_letters: dict[str, dict[str, None]] = field(default_factory=dict)
    #: The dead-letter queues that get a route on purpose.
    included: Collection[str] = ()
    values: dict[str, object] = field(default_factory=dict)
    problems: dict[_Remark, None] = field(default_factory=dict)
    notes: dict[_Remark, None] = field(default_factory=dict)
    places: dict[Path, Path] = field(default_factory=dict)

    def parameters(self, found: Iterable[Parameter]) -> None:
        """Add the parameters that names of queues and topics take."""
        tables = [
            {"name": item.name} | ({} if item.default is None else {"default": item.default})
            for item in found
        ]
        if tables:
            self.values["parameters"] = tables

    def names(self) -> list[object]:
        """The names of all queues, their dead-letter queues and topics."""
        targets = [queue.target for queue in self.queues.values()]
        return [*self.queues, *targets, *(item.topic_value for item in self.subscriptions)]

    def handler(self, place: Node, name: str) -> dict[str, Node]:
        """The setting of a handler, if its name is valid and no queue has it."""
        tables = [
            {key: node.value for key, node in queue.settings.items()}
            for queue in self.queues.values()
        ]
        taken = {item.get("handler") for table in tables for item in _handled(table).values()}
        is_free = name and names.function(name) is None and name not in taken
        return {"handler": place.with_value(name)} if is_free else {}

    def queue(self, name: str, node: Node, settings: Mapping[str, Node] | None = None) -> None:
        """Add a queue, or further settings of one that is known; the first place describes it."""
        self.queues.setdefault(name, Queue(name, node, {})).settings.update(settings or {})

    def problem(self, node: Node, message: str) -> None:
        """Add an error of the document."""
        self.problems[node.path, message] = None

    def note(self, node: Node, message: str) -> None:
        """Add a remark on a part of the document that does not enter the spec."""
        self.notes[node.path, message] = None

    def note_unsupported(self, node: Node, known: Keys, what: str = "") -> None:
        """Note the keys of a table that a spec cannot express; `what` describes the table.

        Sources drop keys nowhere else, so that none is dropped in silence.
        """
        unsupported = [key for key, item in node.items() if _needs_note(key, item.value, known)]
        if unsupported:
            begin = f"{what}: " if what else ""
            self.note(node, f"{begin}unsupported: {listed(unsupported)}")

    def dead_letter(self, name: str, owner: str) -> None:
        """Add a dead-letter queue and what sends its dead letters there."""
        self.dead_letters.setdefault(name, {})[owner] = None

    def dead_letters_of(
        self,
        owner: str,
        value: object,
        named: Callable[[str], str | None],
        texts_in: Callable[[object], Iterator[str]] | None = None,
    ) -> None:
        """Add the dead-letter queues among the dead-letter targets of what is not a queue of the spec.

        `named` returns the name of the queue that a text stands for, None if it stands for none.
        """
        for place in dead_letter_targets(value):
            for text in (texts_in or texts)(place):
                if name := named(text):
                    self.dead_letter(name, owner)

    def dead_letter_queues(self) -> set[str]:
        """The queues that get no route because anything names them as its dead-letter queue."""
        queues = self.queues.values()
        targets = {queue.target for queue in queues if queue.target != queue.name}
        return (set(self.queues) & (targets | set(self.dead_letters))) - set(self.included)

    def draft(self, origin: str | None, line: Callable[[Path], int | None]) -> Draft:
        """The draft of a service that handles the messages of these queues."""
        others = self.dead_letter_queues()
        self._note_dead_letter_queues(others)
        handled = [queue for queue in self.queues.values() if queue.name not in others]
        if self.queues and not handled:
            first = next(iter(self.queues.values()))
            self.problem(
                first.node,
                f"every queue is a dead-letter queue: `--include {first.name}` makes a route for one",
            )
        self._check_included()
        subscriptions: dict[str, list[Subscription]] = {}
        for item in self.subscriptions:
            subscriptions.setdefault(item.queue, []).append(item)
        queues = [
            self._settings(index, queue, subscriptions.get(queue.name, []))
            for index, queue in enumerate(handled)
        ]
        read = {("sqs", queue.name) for queue in handled}
        read |= {("sns", item.topic) for item in self.subscriptions if ("sqs", item.queue) in read}
        self.senders.note_unread(read, self.note)
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

    def _note_dead_letter_queues(self, others: Collection[str]) -> None:
        """Note what leads to the dead-letter queues, and their owners unless the spec has them."""
        subscribed = [(item.queue, item.node) for item in self.subscriptions]
        for name, node in [*subscribed, *self.readers]:
            if name in others:
                self.note(node, f"{quoted(name)} is a dead-letter queue: it gets no handler")
        owners = {name: list(found) for name, found in self.dead_letters.items()}
        for queue in self.queues.values():
            if queue.target and queue.name in others:
                owners.setdefault(queue.target, []).append(f"the queue {quoted(queue.name)}")
        for queue in self.queues.values():
            if queue.name in others and queue.name in owners:
                owner = " and ".join(owners[queue.name])
                self.note(
                    queue.node,
                    f"{quoted(queue.name)} is the dead-letter queue of {owner}: it gets no route; "
                    f"`--include {queue.name}` makes one",
                )

    def _check_included(self) -> None:
        for name in self.included:
            if name not in self.queues:
                hint = names.did_you_mean(name, self.queues)
                self.problem(_NOWHERE, f"--include: no queue is called {quoted(name)}{hint}")

    def _settings(
        self, index: int, queue: Queue, subscriptions: list[Subscription]
    ) -> dict[str, object]:
        settings = {"name": queue.node.with_value(queue.name), **queue.settings}
        settings |= self._kind(queue.name, subscriptions)
        timeout = settings.get("visibility_timeout", _NOWHERE)
        if timeout.value == 0:
            default = f"receives set {DEFAULT_VISIBILITY_TIMEOUT} s instead"
            self.note(timeout, f"a visibility timeout of 0 s is left out: {default}")
            del settings["visibility_timeout"]
        place: Path = ("queues", index)
        self.places[place] = queue.node.path
        self.places |= {(*place, key): node.path for key, node in settings.items()}
        return {key: node.value for key, node in settings.items()}

    def _kind(self, name: str, found: list[Subscription]) -> Mapping[str, Node]:
        """The kind of a queue, and its only subscription: the first that brings SNS's envelope."""
        if not found:
            sender = self.senders.kind(name, None, self.note)
            return {"kind": sender} if sender else {}
        chosen = next((item for item in found if not item.raw), found[0])
        first = quoted(chosen.topic)
        for item in found:
            if item is not chosen:
                message = f"is left out: a queue has one topic, and {first} comes first"
                self.note(item.node, f"{quoted(item.topic)} {message}")
        node = chosen.node
        kind = self.senders.kind(name, chosen.topic, self.note) or node.with_value("sns")
        topic = {"kind": kind, "topic": node.with_value(chosen.topic_value)}
        return topic | dict(chosen.settings)


def draft_of(document: Document, read: Callable[[Node], ImportResult]) -> Draft:
    """The draft that a document's reader makes."""
    try:
        result = read(Node(document.values))
    except RecursionError as error:
        raise ConfigurationError(f"{document.origin}: nested too deeply") from error
    return result.draft(document.origin, document.line)


def parameter(name: str, default: str | None, others: Iterable[Parameter]) -> Parameter | None:
    """The parameter of a spec for one of a document; None if it would be invalid, or like another."""
    variable = names.snake_case(name).upper()
    if (
        names.parameter(variable) is None
        and variable.replace("_", "") not in {other.name.replace("_", "") for other in others}
        and (default is None or names.parameter_value(default) is None)
    ):
        return Parameter(variable, default)
    return None


def whole_number(node: Node) -> Node:
    """The place with the number that its text writes; validation judges all other values."""
    text = node.value
    if isinstance(text, str) and re.fullmatch(r"[0-9]{1,18}", text):
        return node.with_value(int(text))
    return node


def last_part(arn_or_url: str) -> str:
    """The name at the end of an ARN, or of a queue's URL."""
    return re.split(r"[:/]", arn_or_url)[-1]


def listed(words: Iterable[str]) -> str:
    """Words of a document in one line, without quotes."""
    return ", ".join(quoted(word).strip("'") for word in words)


def subscription(find: Callable[[Field], Node], result: ImportResult) -> dict[str, Node]:
    """The settings of a subscription that differ from AWS's defaults."""
    found = _attributes(SUBSCRIPTION, find)
    policy = found.get("filter_policy", _NOWHERE)
    scope = found.get("filter_policy_scope", _NOWHERE).value
    if policy.is_there and (why := names.filter_policy_in(scope, policy.value)):
        result.note(policy, f"the filter policy is left out: {why}")
        del found["filter_policy"]
    return found


def fifo(
    name: str, is_fifo: Node, find: Callable[[Field], Node], result: ImportResult
) -> dict[str, Node]:
    """The settings of a FIFO queue that differ from AWS's defaults; of another queue, notes.

    A name without the suffix is a problem that validation reports.
    """
    found = _attributes(FIFO, find)
    if name.endswith(".fifo"):
        return found
    for key, node in found.items():
        result.note(node, f"{key} is left out: {quoted(name)} is not a FIFO queue")
    return {"fifo": is_fifo} if is_fifo.value is True else {}


def _attributes(rows: Sequence[Field], find: Callable[[Field], Node]) -> dict[str, Node]:
    found = {}
    for row in rows:
        node = find(row)
        value = node.value
        if row.kind == "boolean" and isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower(), value)
        if value not in _EMPTY and value not in ("{}", row.default):
            found[row.name] = node.with_value(value)
    return found


def batch_size(node: Node, result: ImportResult) -> dict[str, Node]:
    """The setting for the size of a function's batches, unless one receive cannot bring as many."""
    size = whole_number(node)
    if not isinstance(size.value, int) or 1 <= size.value <= _MOST_MESSAGES:
        return {"batch_size": size} if size.is_there else {}
    result.note(node, f"one receive brings {_MOST_MESSAGES} messages at most")
    return {}


def dead_letter_targets(value: object) -> Iterator[object]:
    """The values of all keys, at any depth, that name a dead-letter target."""
    return values_of(value, _DEAD_LETTER_KEY)


def values_of(value: object, keys: re.Pattern[str]) -> Iterator[object]:
    """The values of these keys, at any depth, without the keys within them."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            for key, item in found.items():
                if isinstance(key, str) and keys.fullmatch(key):
                    yield item
                else:
                    waiting.append(item)
        elif isinstance(found, list):
            waiting += found


def texts(value: object) -> Iterator[str]:
    """All texts within a value; the texts within a text that is JSON."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
        elif isinstance(found, str):
            is_json = found.lstrip().startswith(("{", "["))
            inner = Node(found).parsed.value if is_json else None
            if inner is None:
                yield found
            else:
                waiting.append(inner)


def queue_of(text: str) -> str | None:
    """The name at the end of an ARN or URL of a queue; None for another text."""
    if text.startswith("arn:") and text.split(":")[2:3] not in ([], ["sqs"]):
        return None
    name = last_part(text)
    return name if name and name != text else None


def _tell_handlers_apart(queues: Sequence[dict[str, object]]) -> None:
    """Give a handler to each queue, and each type, whose default handler another one has."""
    used = {table.get("handler") for queue in queues for table in _handled(queue).values()}
    for queue in queues:
        for name, table in _handled(queue).items():
            if "handler" in table:
                continue
            handler = first = names.handler_for(name)
            number = 2
            while handler in used:
                handler, number = f"{first[:95]}_{number}", number + 1
            used.add(handler)
            if handler != first:
                table["handler"] = handler


def _handled(queue: dict[str, object]) -> dict[str, dict[str, object]]:
    """The tables of a queue that have a handler: its types by their names, or the queue itself."""
    types = queue.get("types")
    return types if isinstance(types, dict) else {str(queue.get("name")): queue}
