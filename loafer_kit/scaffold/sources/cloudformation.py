"""The source CloudFormation, and SAM: the queues, topics and subscriptions of a template."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import (
    ImportResult,
    Keys,
    Subscription,
    batch_size,
    draft_of,
    fifo,
    keys,
    last_part,
    listed,
    queue_keys,
    queue_of,
    subscription,
    texts,
    whole_number,
)
from loafer_kit.scaffold.sources.intrinsics import UNKNOWN, Intrinsics, template_of
from loafer_kit.scaffold.sources.senders import CLOUDFORMATION, Sender, target_of
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.fields import Field
from loafer_kit.scaffold.spec.specs import Draft

# The keys of queues, topics, subscriptions and mappings; the source AWS uses them too.

#: The default is 1 MiB, for queues from before August 2025 256 KiB.
MESSAGE_SIZES = "262144 1048576"

# What AWS measures itself.
_MEASURED = """
    ApproximateNumberOfMessages ApproximateNumberOfMessagesDelayed
    ApproximateNumberOfMessagesNotVisible CreatedTimestamp LastModifiedTimestamp QueueArn
"""
QUEUE_KEYS, DEAD_LETTER_QUEUE_KEYS = queue_keys(
    f"{_MEASURED} FifoQueue QueueName",
    "ReceiveMessageWaitTimeSeconds RedrivePolicy VisibilityTimeout",
    lambda row: str(row.attribute),
    DelaySeconds="0",
    KmsDataKeyReusePeriodSeconds="300",
    MaximumMessageSize=MESSAGE_SIZES,
    MessageRetentionPeriod="345600",
    ReceiveMessageWaitTimeSeconds="0",
    SqsManagedSseEnabled="true",
    VisibilityTimeout="30",
)
REDRIVE_POLICY_KEYS = keys("deadLetterTargetArn maxReceiveCount")
# `DisplayName` is for e-mail and SMS.
_TOPIC_KEYS = keys(
    "DisplayName FifoTopic Subscription TopicArn TopicName",
    ContentBasedDeduplication="false",
    FifoThroughputScope="messagegroup",
    MaximumMessageSize=MESSAGE_SIZES,
    SignatureVersion="1",
    TracingConfig="passthrough",
)
SUBSCRIPTION_KEYS = keys("""
    ConfirmationWasAuthenticated EffectiveDeliveryPolicy Endpoint FilterPolicy FilterPolicyScope Owner
    PendingConfirmation Protocol RawMessageDelivery SubscriptionArn SubscriptionPrincipal TopicArn
""")
# `ReportBatchItemFailures` is the only function response type; a service always settles each message
# alone.
_MAPPING_KEYS = keys(
    "BatchSize EventSourceArn FunctionName FunctionResponseTypes Queue",
    Enabled="true",
    MaximumBatchingWindowInSeconds="0",
)
_TEMPLATE_KEYS = keys("""
    AWSTemplateFormatVersion Conditions Description Globals Mappings Metadata Outputs Parameters
    Resources Rules Transform
""")
# How a stack is deployed does not matter to a consumer.
_RESOURCE_KEYS = keys("""
    Condition Connectors CreationPolicy DeletionPolicy DependsOn IgnoreGlobals Metadata Properties Type
    UpdatePolicy UpdateReplacePolicy
""")
_EVENT_KEYS = keys("Properties Type")
_SNS_EVENT_KEYS = keys("FilterPolicy FilterPolicyScope SqsSubscription Topic")
_SQS_SUBSCRIPTION_KEYS = keys("BatchSize QueueArn QueuePolicyLogicalId QueueUrl", Enabled="true")
# The service replaces the function: how it is built and published does not matter.
_FUNCTION_KEYS = keys("""
    Architectures AutoPublishAlias AutoPublishAliasAllProperties AutoPublishCodeSha256
    CodeSigningConfigArn CodeUri DeploymentPreference Description EphemeralStorage Events FunctionName
    Handler ImageConfig ImageUri InlineCode Layers MemorySize PackageType PropagateTags
    PublishToLatestPublished Runtime RuntimeManagementConfig SnapStart SourceKMSKeyArn
    VersionDeletionPolicy VersionDescription
""")

_SETTINGS = {
    "ReceiveMessageWaitTimeSeconds": "wait_time",
    "VisibilityTimeout": "visibility_timeout",
}
_QUEUE, _TOPIC = "AWS::SQS::Queue", "AWS::SNS::Topic"
_ARN_PARTS = 6
_WHEN_DEPLOYED = "is known only when the stack is deployed"


def read(path: Path, include: Collection[str] = ()) -> Draft:
    """The draft of a service for the queues of a template.

    The dead-letter queues of `include` get routes too.
    """
    document = documents.load(path, documents.TEMPLATE, what="a CloudFormation template")
    return draft_of(template_of(document), lambda root: _Reader(root, include).read())


class _Reader:
    """Walks over one template."""

    def __init__(self, root: Node, include: Collection[str]) -> None:
        self._root = root
        self._result = ImportResult(included=include)
        self._intrinsics = Intrinsics(root)
        #: The resources by their logical ids, without those whose condition is false.
        self._made: dict[str, Node] = {}
        self._made_topics: set[str] = set()

    def read(self) -> ImportResult:
        self._result.note_unsupported(self._root, _TEMPLATE_KEYS)
        self._made.update(self._of_stack())
        self._made_topics |= {self._intrinsics.name(key) for key, _ in self._of(_TOPIC)}
        readers = {
            "AWS::Lambda::EventSourceMapping": self._mapping,
            "AWS::Serverless::Function": self._function,
            "AWS::SNS::Subscription": self._subscription,
            _TOPIC: self._topic,
        }
        for logical_id, resource in self._of(_QUEUE):
            self._queue(logical_id, resource)
        others = set()
        for logical_id, resource in self._made.items():
            kind = str(resource["Type"].value)
            sends = self._senders(CLOUDFORMATION.get(kind, []), resource["Properties"])
            if kind in readers:
                readers[kind](logical_id, resource)
            elif kind != _QUEUE and not sends:
                others.add(kind)
        if others:
            self._result.note(self._root["Resources"], f"not looked at: {listed(sorted(others))}")
        if not self._result.queues:
            self._result.problem(self._root["Resources"], f"describes no queue ({_QUEUE})")
        self._dead_letters()
        self._note_queues_and_topics()
        self._result.parameters(self._intrinsics.parameters.values())
        return self._result

    def _of_stack(self) -> Iterator[tuple[str, Node]]:
        for logical_id, resource in self._root["Resources"].items():
            if logical_id.startswith("Fn::"):
                message = "makes resources only when the stack is deployed: left out"
                self._result.note(resource, message)
            elif resource["Type"].text is None:
                self._result.note(resource, "has no type: left out")
            elif self._is_made(resource):
                yield logical_id, resource

    def _is_made(self, resource: Node) -> bool:
        condition = resource["Condition"]
        holds = self._intrinsics.condition(condition.value) if condition.is_there else True
        if holds is False:
            self._result.note(resource, "is left out: its condition does not hold")
        elif holds is None:
            self._result.note(condition, _WHEN_DEPLOYED)
        return holds is not False

    def _of(self, kind: str) -> list[tuple[str, Node]]:
        return [item for item in self._made.items() if item[1]["Type"].value == kind]

    def _dead_letters(self) -> None:
        """Find the dead-letter queues of all resources, except those that the spec's queues have.

        A resource counts even if its condition does not hold, and so do all branches of `Fn::If`:
        dead letters must not be consumed by mistake.
        """
        read = {
            logical_id
            for logical_id, _ in self._of(_QUEUE)
            if self._result.queues[self._intrinsics.name(logical_id)].target
        }
        owners = {}
        for logical_id, resource in self._root["Resources"].items():
            if logical_id not in read:
                kind = listed([str(resource["Type"].value)])
                owners[f"{quoted(logical_id)} ({kind})"] = resource["Properties"].value
        owners["the functions"] = self._root["Globals"].value
        for owner, value in owners.items():
            self._result.dead_letters_of(owner, value, _known_queue, self._intrinsics.texts)

    def _note_queues_and_topics(self) -> None:
        """Note the keys of queues and topics, once it is known which of them are used, and how."""
        others = self._result.dead_letter_queues()
        for logical_id, resource in self._of(_QUEUE):
            is_dead = self._intrinsics.name(logical_id) in others
            self._note_unsupported(
                resource["Properties"], DEAD_LETTER_QUEUE_KEYS if is_dead else QUEUE_KEYS
            )
        subscribed = {item.topic for item in self._result.subscriptions}
        for logical_id, resource in self._of(_TOPIC):
            properties = self._properties(resource)
            name = self._intrinsics.name(logical_id)
            if name in subscribed:
                self._note_name(name, resource, "TopicName")
                self._note_unsupported(properties, _TOPIC_KEYS)
            else:
                self._result.note(resource, "is left out: no queue is subscribed to it")

    def _note_name(self, name: str, resource: Node, key: str) -> None:
        """Note a name that the template does not give, or that defaults of parameters make up."""
        given = resource.at("Properties", key)
        called = f"the spec calls it {listed([name])}"
        if not self._intrinsics.is_named(resource):
            self._result.note(resource, f"its name {_WHEN_DEPLOYED}: {called}")
        elif used := self._intrinsics.parameters_of(given.value):
            self._result.note(given, f"has the default of {listed(used)}: {called}")

    def _queue(self, logical_id: str, resource: Node) -> None:
        name = self._intrinsics.name(logical_id)
        self._note_name(name, resource, "QueueName")
        properties = self._properties(resource)
        settings = {"name": properties["QueueName"].with_value(name)} | {
            key: whole_number(node)
            for word, key in _SETTINGS.items()
            if (node := self._known(properties[word])).is_there
        }
        is_fifo = properties["FifoQueue"]
        is_fifo = is_fifo.with_value(self._intrinsics.boolean(is_fifo.value))
        settings |= fifo(name, is_fifo, self._attributes_of(properties), self._result)
        settings |= self._handler(resource) | self._redrive(properties["RedrivePolicy"])
        self._result.queue(name, resource, settings)

    def _handler(self, resource: Node) -> dict[str, Node]:
        """A handler named by CDK's path, for a queue that has only a logical id."""
        path = resource.at("Metadata", "aws:cdk:path")
        if not path.text or self._intrinsics.is_named(resource):
            return {}
        # The first step is the stack; CDK leaves out these words of an id too.
        steps = [step for step in path.text.split("/")[1:] if step not in ("Resource", "Default")]
        if not steps:
            return {}
        return self._result.handler(path, f"handle_{names.snake_case('_'.join(steps))}")

    def _redrive(self, node: Node) -> dict[str, Node]:
        policy = node.with_value(self._intrinsics.resolve(node.value))
        if not policy.is_there:
            return {}
        policy = policy.parsed if policy.text else policy
        self._result.note_unsupported(policy, REDRIVE_POLICY_KEYS)
        target = policy["deadLetterTargetArn"]
        name = last_part(self._intrinsics.text(target.value))
        if isinstance(policy.value, Mapping) and not target.is_there:
            self._result.note(node, "names no dead-letter queue: left out")
            return {}
        if UNKNOWN in name:
            self._result.note(node, f"the dead-letter queue {_WHEN_DEPLOYED}")
            return {}
        count = self._known(policy["maxReceiveCount"])
        return {"dead_letter_queue": target.with_value(name)} | (
            {"max_receive_count": whole_number(count)} if count.is_there else {}
        )

    def _topic(self, logical_id: str, resource: Node) -> None:
        name = self._intrinsics.name(logical_id)
        for place in resource.at("Properties", "Subscription").elements():
            self._subscribe(self._chosen(place), resource.with_value(f":{name}"))

    def _subscription(self, _logical_id: str, resource: Node) -> None:
        properties = self._properties(resource)
        self._subscribe(properties, properties["TopicArn"])

    def _subscribe(self, place: Node, topic_node: Node) -> None:
        if not place.is_there:
            return
        protocol = self._intrinsics.text(place["Protocol"].value)
        if protocol != "sqs":
            self._result.note(place, f"delivers by {quoted(protocol)}, not to a queue")
            return
        queue = self._target(place["Endpoint"])
        if queue:
            self._subscribed(topic_node, queue, place)
            self._result.queue(queue, place)
            self._note_unsupported(place, SUBSCRIPTION_KEYS)

    def _senders(self, senders: Collection[Sender], properties: Node) -> bool:
        """Add what a resource sends to queues and topics; whether there is any."""
        sends = False
        for sender in senders:
            for place in map(self._chosen, sender.places(properties)):
                target = target_of(self._intrinsics.text(place[sender.target].value))
                if target and UNKNOWN not in target[1]:
                    sends = True
                    known = place.with_value(self._intrinsics.resolve(place.value))
                    self._result.senders.add(target, sender.kind_of(known), place)
        return sends

    def _mapping(self, _logical_id: str, resource: Node) -> None:
        properties = self._properties(resource)
        source = properties["EventSourceArn"]
        if not source.is_there or not _is_of_queue(self._intrinsics.text(source.value)):
            self._result.note(resource, "is left out: it reads no queue")
            return
        self._consume(properties, source, _MAPPING_KEYS)

    def _function(self, logical_id: str, resource: Node) -> None:
        properties = self._properties(resource)
        readers = len(self._result.readers)
        for event_id, event in properties["Events"].items():
            self._event(f"{logical_id}{event_id}Queue", event)
        if len(self._result.readers) > readers:
            self._note_unsupported(properties, _FUNCTION_KEYS)
            self._note_unsupported(self._root.at("Globals", "Function"), _FUNCTION_KEYS)
        elif not properties["Events"].is_there:
            self._result.note(resource, "is left out: it has no events")

    def _event(self, queue_id: str, event: Node) -> None:
        properties = event["Properties"]
        self._result.note_unsupported(event, _EVENT_KEYS)
        if event["Type"].value == "SQS":
            self._consume(properties, properties["Queue"], _MAPPING_KEYS)
        elif event["Type"].value == "SNS":
            self._sns_event(queue_id, properties)
        else:
            self._result.note(event, "is not an event from a queue")

    def _sns_event(self, queue_id: str, properties: Node) -> None:
        """SAM can put a queue between a topic and a function: its own, or a named one."""
        through = properties["SqsSubscription"]
        if isinstance(through.value, dict):
            queue = self._consume(through, through["QueueArn"], _SQS_SUBSCRIPTION_KEYS)
        elif self._intrinsics.boolean(through.value) is True:
            queue = queue_id
            self._result.note(through, f"its queue's name {_WHEN_DEPLOYED}: called {quoted(queue)}")
            self._result.queue(queue, through)
            self._result.readers.append((queue, through))
        else:
            self._result.note(properties, "the topic calls the function: there is no queue")
            return
        self._note_unsupported(properties, _SNS_EVENT_KEYS)
        if queue:
            self._subscribed(properties["Topic"], queue, properties)

    def _subscribed(self, topic_node: Node, queue: str, place: Node) -> None:
        """Add a subscription; a topic that the template does not make exists."""
        arn = self._intrinsics.text(topic_node.value)
        topic = last_part(arn)
        if UNKNOWN in topic:
            topic = queue
            self._result.note(topic_node, f"{_WHEN_DEPLOYED}: the spec calls it {listed([topic])}")
        is_known = arn.startswith("arn:") and names.topic(arn) is None
        self._result.subscriptions.append(
            Subscription(
                topic,
                queue,
                place,
                subscription(self._attributes_of(place), self._result),
                arn=arn if is_known else None,
                exists=is_known or topic not in self._made_topics,
            )
        )

    def _attributes_of(self, place: Node) -> Callable[[Field], Node]:
        """How an attribute of a queue or a subscription is found, with its value resolved."""

        def find(row: Field) -> Node:
            node = place[str(row.attribute)]
            value, used = self._intrinsics.with_defaults(node.value)
            if any(UNKNOWN in text for text in texts(value)):
                self._result.note(node, f"{_WHEN_DEPLOYED}: left out")
                return node.with_value(None)
            if used:
                self._result.note(node, f"has the default of {listed(used)}")
            return node.with_value(value)

        return find

    def _consume(self, node: Node, queue_node: Node, known: Keys) -> str | None:
        """Add a queue that calls a function, perhaps in batches, and return its name."""
        name = self._target(queue_node)
        if name:
            self._note_unsupported(node, known)
            found = batch_size(self._known(node["BatchSize"]), self._result)
            self._result.queue(name, queue_node, found)
            self._result.readers.append((name, node))
        return name

    def _properties(self, resource: Node) -> Node:
        """The properties of a resource; its unsupported keys are noted."""
        self._result.note_unsupported(resource, _RESOURCE_KEYS)
        return resource["Properties"]

    def _note_unsupported(self, node: Node, known: Keys) -> None:
        """Note the unsupported keys of a place, after resolving its values."""
        if isinstance(node.value, Mapping):
            found = {key: self._intrinsics.resolve(item) for key, item in node.value.items()}
            self._result.note_unsupported(node.with_value(found), known)

    def _known(self, node: Node) -> Node:
        """The place with its resolved value, or None if it is unknown."""
        value = self._intrinsics.resolve(node.value)
        if isinstance(value, str) and UNKNOWN in value:
            self._result.note(node, _WHEN_DEPLOYED)
            value = None
        return node.with_value(value)

    def _target(self, node: Node) -> str | None:
        """The name of the queue or topic that a place refers to."""
        name = last_part(self._intrinsics.text(node.value))
        if UNKNOWN not in name:
            return name
        self._result.note(node, f"{_WHEN_DEPLOYED}: left out")
        return None

    def _chosen(self, node: Node) -> Node:
        """The table that `Fn::If` chooses, or the place itself."""
        while isinstance(node["Fn::If"].value, list):
            choice = node["Fn::If"]
            holds = self._intrinsics.condition(choice[0].value)
            if holds is None:
                self._result.note(node, f"{_WHEN_DEPLOYED}: left out")
                return node.with_value(None)
            node = choice[1 if holds else 2]
        return node.with_value(None) if node["Ref"].value == "AWS::NoValue" else node


def _known_queue(text: str) -> str | None:
    """The name at the end of an ARN or URL of a queue, if the template says it."""
    name = queue_of(text)
    return None if name is None or UNKNOWN in name else name


def _is_of_queue(arn: str) -> bool:
    """Whether an ARN may be a queue's; true if its service is unknown."""
    parts = arn.split(":")
    return len(parts) < _ARN_PARTS or parts[2] == "sqs" or UNKNOWN in parts[2]
