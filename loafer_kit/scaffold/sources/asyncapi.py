"""The source AsyncAPI, 2.x and 3.x: operations that receive become queues and models."""

import re
from collections.abc import Collection
from pathlib import Path as FilePath

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.sources.asyncapi_operations import (
    DEAD_LETTER_QUEUE,
    QUEUE,
    REDRIVE_POLICY,
    Bindings,
    Operation,
    Parameters,
    attribute,
    identified,
    queue_name,
    received,
    with_traits,
)
from loafer_kit.scaffold.sources.documents import Node, References
from loafer_kit.scaffold.sources.import_results import (
    ImportResult,
    Subscription,
    draft_of,
    fifo,
    keys,
    subscription,
    whole_number,
)
from loafer_kit.scaffold.sources.json_schemas import Schemas
from loafer_kit.scaffold.spec import names, payload_types, payloads
from loafer_kit.scaffold.spec.specs import Draft, Path

# A type of messages as a spec writes it.
_Table = dict[str, object]

_FORMATS = {**documents.YAML, **documents.JSON}
_SETTINGS = {
    "visibilityTimeout": "visibility_timeout",
    "receiveMessageWaitTime": "wait_time",
}
_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.-]+\+)?json(?:;.*)?")
_SCHEMA_FORMAT = re.compile(r"application/(?:vnd\.aai\.asyncapi|schema)\b.*")
# The default of the SQS binding.
_MAX_RECEIVE_COUNT = 10
_UNUSED_QUEUE = "no subscription delivers to it, and no queue's redrive policy names it"

# Descriptions of an object; brokers and credentials belong to the environment.
_WORDS = "description externalDocs summary tags title"
_DOCUMENT = keys("asyncapi channels components defaultContentType id info operations servers")
_CHANNEL = keys(f"{_WORDS} address bindings messages parameters publish servers subscribe")
_OPERATION = keys(f"{_WORDS} action bindings channel message messages operationId traits")
_MESSAGE = keys(
    f"{_WORDS} bindings contentType examples messageId name payload schemaFormat traits"
)
# Neither SQS nor SNS has a binding for messages.
_MESSAGE_BINDINGS = keys("")


def read(path: FilePath, include: Collection[str] = ()) -> Draft:
    """The draft of a service that receives what the document's application receives.

    The dead-letter queues of `include` get routes too.
    """
    document = documents.load(path, _FORMATS, what="an AsyncAPI document")
    return draft_of(document, lambda root: _Reader(root, include, document.folder).read())


class _Reader:
    """Walks over one document."""

    def __init__(self, root: Node, include: Collection[str], folder: FilePath | None) -> None:
        self._root = root
        self._result = ImportResult(included=include)
        references = References(root, self._result.problem, folder)
        self._parameters = Parameters(root, references, self._result)
        self._root = root = root.with_value(self._parameters.in_bindings(root.value))
        self._references = References(root, self._result.problem, folder)
        self._models: dict[str, object] = {}
        self._schemas = Schemas(self._references, self._result, self._models)
        self._described: list[Node] = []
        #: The operations that receive from each queue, in the order of the document.
        self._operations: dict[str, list[Operation]] = {}

    def read(self) -> ImportResult:
        self._result.note_unsupported(self._root, _DOCUMENT)
        self._name()
        for operation in received(self._root, self._references, self._result, self._parameters):
            self._operation(operation)
        for name, operations in self._operations.items():
            self._result.queues[name].settings.update(self._messages(operations))
        self._result.parameters(self._parameters.used_in(self._result.names()))
        self._note_queues()
        if self._models:
            self._result.values["payloads"] = self._models
        return self._result

    def _name(self) -> None:
        title = self._root.at("info", "title")
        name = re.sub(r"[^a-z0-9]+", "-", (title.text or "").lower())[:60].strip("-")
        if name:
            self._result.values["name"] = name
            self._result.places["name",] = title.path

    def _note_queues(self) -> None:
        """Note the keys of queues, once all operations have shown which are dead-letter queues."""
        others = self._result.dead_letter_queues()
        queues = self._result.queues.values()
        handled = {queue.name: queue.node for queue in queues if queue.name not in others}
        used = {queue.target for queue in queues} | set(self._result.queues)
        for queue in self._described:
            name = str(queue["name"].value)
            if name in handled and queue.value != handled[name].value:
                self._result.note(queue, f"is left out: {quoted(name)} is described before")
            elif name in handled:
                self._result.note_unsupported(handled[name], QUEUE)
            elif name in used:
                self._result.note_unsupported(queue, DEAD_LETTER_QUEUE)
            else:
                self._result.note(queue, f"{quoted(name)} is left out: {_UNUSED_QUEUE}")

    def _operation(self, operation: Operation) -> None:
        self._note_operation(operation)
        bindings = Bindings(operation, self._references, self._result)
        named, consumers = bindings.named(), bindings.consumers()
        self._described += bindings.described
        topic = bindings.topic_name()
        if topic is None:
            topic = queue_name(operation.address)
            if consumers or bindings.topic.is_there:
                self._result.note(
                    operation.channel, f"its topic has no name: the spec calls it {quoted(topic)}"
                )
        if consumers:
            queues = []
            for name, consumer in consumers.items():
                policy = self._references.down(consumer, "redrivePolicy", "deadLetterQueue")
                if target := identified(policy):
                    owner = f"the subscription of {quoted(name)} to {quoted(topic)}"
                    self._result.dead_letter(target, owner)
                settings = subscription(attribute(consumer), self._result)
                self._result.subscriptions.append(
                    Subscription(
                        topic, name, consumer, settings, arn=bindings.identifier["arn"].text
                    )
                )
                queues.append(named.get(name, consumer.with_value({"name": name})))
        else:
            queues = bindings.point_to_point()
            if not queues:
                name = queue_name(operation.address)
                message = f"has no binding for SQS: its queue is called {name}"
                self._result.note(operation.channel, message)
                queues = [operation.channel.with_value({"name": name})]
            if bindings.topic.is_there:
                self._result.subscriptions += [
                    Subscription(topic, str(queue["name"].value), operation.channel)
                    for queue in queues
                ]
        for queue in queues:
            self._queue(queue, operation, bindings)

    def _note_operation(self, operation: Operation) -> None:
        """Note the unsupported keys of an operation, its channel and its messages."""
        self._result.note_unsupported(operation.channel, _CHANNEL)
        for node in with_traits(operation.node, self._references):
            self._result.note_unsupported(node, _OPERATION)
        for place in operation.messages:
            message = self._references.follow(place)
            for node in with_traits(message, self._references):
                self._result.note_unsupported(node, _MESSAGE)
                bindings = self._references.down(node, "bindings")
                self._result.note_unsupported(bindings, _MESSAGE_BINDINGS)

    def _queue(self, queue: Node, operation: Operation, bindings: Bindings) -> None:
        name = str(queue["name"].value)
        self._result.readers.append((name, operation.node))
        operations = self._operations.setdefault(name, [])
        if operation not in operations:  # its channel may describe the queue as well
            operations.append(operation)
        if name in self._result.queues:
            return
        settings = {"name": queue["name"]} | {
            key: whole_number(queue[word]) for word, key in _SETTINGS.items() if word in queue
        }
        settings |= fifo(name, queue["fifoQueue"], attribute(queue), self._result)
        settings |= self._redrive(queue, bindings)
        self._result.queue(name, queue, settings)

    def _messages(self, operations: list[Operation]) -> dict[str, Node]:
        """The settings for the handlers of a queue and its payload, which all its operations share."""
        first = operations[0].node
        payload = self._payload(operations)
        types = None if payload is None else self._types(str(payload.value))
        if types is not None:
            by, tables = types
            if len(operations) > 1:
                self._name_handlers(operations, tables)
            return {"by": first.with_value(by), "types": first.with_value(tables)}
        settings = {} if payload is None else {"payload": payload}
        if len(operations) == 1:
            return settings | self._handler(operations[0])
        for operation in operations[1:]:
            self._result.note(operation.node, "shares its queue's handler with another operation")
        return settings

    def _handler(self, operation: Operation) -> dict[str, Node]:
        return self._result.handler(operation.node, names.snake_case(operation.name or ""))

    def _name_handlers(self, operations: list[Operation], tables: dict[str, _Table]) -> None:
        """Name the handlers of a queue's types after the operations that receive one of them only."""
        known = set(self._models)
        for operation in operations:
            model = self._payload([operation])
            for name in set(self._models) - known:  # a union, which the types replace
                del self._models[name]
            own = [t for t in tables.values() if model and t == {"payload": model.value}]
            for table in own:
                table.update({key: node.value for key, node in self._handler(operation).items()})
            if not own:
                self._result.note(
                    operation.node, "shares its types' handlers with another operation"
                )

    def _redrive(self, queue: Node, bindings: Bindings) -> dict[str, Node]:
        policy = self._references.down(queue, "redrivePolicy")
        self._result.note_unsupported(policy, REDRIVE_POLICY)
        target = bindings.target(queue)
        if target is None:
            return {}
        count = policy["maxReceiveCount"]
        return {
            "dead_letter_queue": policy.with_value(target),
            "max_receive_count": (
                whole_number(count) if count.is_there else count.with_value(_MAX_RECEIVE_COUNT)
            ),
        }

    def _payload(self, operations: list[Operation]) -> Node | None:
        """The model of a queue's messages, or the union of several; None if one is not JSON."""
        places: dict[Path, tuple[Node, Operation]] = {}
        for operation in operations:
            for place in operation.messages:
                places.setdefault(self._references.follow(place).path, (place, operation))
        schemas = [self._schema(*found) for found in places.values()]
        found = [schema for schema in schemas if schema]
        if not found:
            return None
        if len(found) < len(schemas):
            message = "has messages without a schema: the handler gets the decoded content"
            self._result.note(operations[0].node, message)
            return None
        name = self._schemas.payload(found)
        return None if name is None else found[0][0].with_value(name)

    def _types(self, name: str) -> tuple[str, dict[str, _Table]] | None:
        """Where messages of a union say their type, and each type; None if nothing tells them apart.

        That is a field which each model requires, with one value of its own.
        """
        union = self._models.get(name)
        if not isinstance(union, str):
            return None
        parts = [part.name for part in payload_types.parse(union).choices]
        found = payloads.read(self._models, [])
        for key in found[parts[0]].fields:
            fields = [found[part].fields.get(key) for part in parts]
            values = [
                field.values[0]
                for field in fields
                if field and len(field.values) == 1 and not field.may_be_absent
            ]
            texts = [text for text in values if isinstance(text, str) and not names.key(text)]
            if len(set(texts)) == len(parts) and "." not in key:
                del self._models[name]
                tables: list[_Table] = [{"payload": part} for part in parts]
                return key, dict(zip(texts, tables, strict=True))
        return None

    def _schema(self, place: Node, operation: Operation) -> tuple[Node, str] | None:
        """The schema of a message's payload and a name for it."""
        message = self._references.follow(place)
        schema = message["payload"]
        content = (
            self._of_message(message, "contentType").text or self._root["defaultContentType"].text
        )
        if not _JSON_TYPE.fullmatch(content or "application/json"):
            self._result.note(message, f"is {quoted(str(content))}, which is not decoded")
            return None
        format_ = self._of_message(message, "schemaFormat")
        # A schema of another format may be in a file that no reference can be followed to.
        if not format_.is_there and "schemaFormat" in (wrapper := self._references.follow(schema)):
            format_, schema = wrapper["schemaFormat"], wrapper["schema"]
        if format_.is_there and not _SCHEMA_FORMAT.fullmatch(str(format_.value)):
            self._result.note(format_, "is not JSON Schema: the handler gets the decoded content")
            return None
        if not schema.is_there:
            return None
        is_listed = len(message.path) > 1 and message.path[-2] == "messages"
        address = names.REFERENCE.sub("", operation.address)
        hint = message["name"].text or str(message.path[-1] if is_listed else address)
        return schema, hint

    def _of_message(self, message: Node, key: str) -> Node:
        """A key of a message, or of the first of its traits that has it."""
        places = with_traits(message, self._references)
        return next((place[key] for place in places if key in place), message[key])
