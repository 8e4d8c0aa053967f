"""The keys of a spec, and the values of `with`: one row each.

Validation, flags, questions, the JSON Schema and the docs are made from the rows.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import names

Value = str | int | float | bool
Kind = Literal["string", "integer", "number", "boolean", "object"]

# What a value of each kind is, and how an error calls it.
_KINDS: Mapping[Kind, tuple[type | tuple[type, ...], str]] = {
    "string": (str, "a text"),
    "integer": (int, "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": (bool, "true or false"),
    "object": (str, "a table, or JSON of one"),  # JSON, which a table becomes before
}

# The defaults of a route; `tests/scaffold/test_shipping.py` compares them with the runtime.
DEFAULT_BATCH_SIZE = 10
DEFAULT_CONCURRENCY = 10
DEFAULT_HANDLER_TIMEOUT = 60
# The spec's own, for a queue with a dead-letter queue.
DEFAULT_MAX_RECEIVE_COUNT = 5
# SQS's, in seconds.
DEFAULT_VISIBILITY_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a spec.

    `rule` checks a text; `pattern` is the part of that rule which JSON Schema can express.
    `receive` is the ReceiveMessage parameter that the value sets, `keyword` the route's argument,
    `attribute` the attribute of the queue or its subscription on AWS, and `default` AWS's default.
    """

    name: str
    kind: Kind
    doc: str
    required: bool = False
    rule: names.Rule | None = None
    pattern: re.Pattern[str] | None = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    more_than: int | None = None
    receive: str | None = None
    keyword: str | None = None
    attribute: str | None = None
    default: Value | None = None

    def why_not(self, value: object) -> str | None:
        """The reason why the key cannot have this value, or None; booleans are not numbers."""
        types, called = _KINDS[self.kind]
        if self.kind == "object" and isinstance(value, Mapping):
            return "holds a value that JSON does not have"
        if not isinstance(value, types) or isinstance(value, bool) != (self.kind == "boolean"):
            return f"must be {called}, not {_described(value)}"
        if self.choices and value not in self.choices:
            near = names.did_you_mean(str(value), self.choices)
            return f"{quoted(str(value))} is not one of {', '.join(self.choices)}{near}"
        if self.kind in ("integer", "number"):
            return self._out_of_bounds(cast("float", value))
        return self.rule(str(value)) if self.rule else None

    def _out_of_bounds(self, value: float) -> str | None:
        shown = _described(value)
        if not abs(value) <= sys.float_info.max:  # true of NaN and of integers beyond every float
            return f"{shown} is not a finite number"
        if self.minimum is not None and value < self.minimum:
            return f"{shown} is less than {self.minimum}"
        if self.more_than is not None and value <= self.more_than:
            return f"must be more than {self.more_than}"
        if self.maximum is not None and value > self.maximum:
            return f"{shown} is more than {self.maximum}"
        return None


def _described(value: object) -> str:
    """A value of a wrong type, in a few words."""
    match value:
        case str():
            return quoted(value)
        case bool() | int() | float():
            return quoted(str(value)).strip("'").lower()
        case Mapping():
            return "a table"
        case list():
            return "a list"
    return f"a {type(value).__name__}"


@dataclass(frozen=True, slots=True)
class Artefact:
    """Files that ship a service; `paths` are relative to the project, with `{package}` for its name."""

    name: str
    doc: str
    paths: tuple[str, ...]


#: The kinds of queues whose messages are in the envelope of that name of `ext.aws.envelopes`.
ENVELOPES = ("eventbridge", "s3", "cloudevents", "lambda_destination")
#: The kind of a queue of RabbitMQ, and the options that its route has.
AMQP = "amqp"
AMQP_OPTIONS = frozenset(
    {
        "breaker_recovery",
        "breaker_threshold",
        "concurrency",
        "handler_timeout",
        "prefetch",
        "rate_limit",
        "retry_delay",
        "retry_delay_cap",
    }
)
KINDS = ("sqs", "sns", *ENVELOPES, AMQP)

# JSON Schema looks at a name without its queue's kind.
_ANY_QUEUE = re.compile(f"{names.QUEUE_OR_URL.pattern}|{names.AMQP_QUEUE.pattern}")

# fmt: off
# The keys of a service, except its tables.
SERVICE = (
    Field(
        "name", "string", "The project's name.",
        required=True, rule=names.project, pattern=names.PROJECT,
    ),
    Field(
        "package", "string",
        "The package to import, and the project's folder; by default made from the name.",
        rule=names.package, pattern=names.IDENTIFIER,
    ),
)

# The keys of a parameter.
PARAMETER = (
    Field(
        "name", "string", "The environment variable; a queue's name takes it as `${NAME}`.",
        required=True, rule=names.parameter, pattern=names.PARAMETER,
    ),
    Field(
        "default", "string",
        "Its value unless the environment sets it; without one, the environment must.",
        rule=names.parameter_value, pattern=names.PARAMETER_VALUE,
    ),
)

# The keys of a queue and its code.
QUEUE = (
    Field(
        "name", "string", "The queue's name, or its URL.",
        required=True, rule=names.queue_or_url, pattern=_ANY_QUEUE,
    ),
    Field(
        "fifo", "boolean",
        "Whether the queue is FIFO, as its name says already; to correct what a document says.",
    ),
    Field(
        "kind", "string",
        "`sqs`: messages sent to the queue; `sns`: a queue subscribed to a topic; `eventbridge`, `s3`, "
        "`cloudevents`, `lambda_destination`: a queue whose messages are in that envelope; `amqp`: a queue "
        "of RabbitMQ.",
        choices=KINDS,
    ),
    Field(
        "topic", "string",
        "The topic's name or ARN, for any kind but `sqs`; of kind `sns` it is named as the queue by "
        "default. "
        '`{name = "news", create = false}` is a topic that exists already.',
        rule=names.topic,
    ),
    Field(
        "exchange", "string",
        "For kind `amqp`: the topic exchange that the queue is bound to; by default none.",
        rule=names.amqp,
    ),
    Field(
        "routing_key", "string",
        "For kind `amqp`: the routing key of that binding; by default the queue's name.",
        rule=names.amqp,
    ),
    Field(
        "handler", "string",
        "The function that handles a message; by default `handle_` and the queue's name. With `types` "
        "it gets the messages of other types, which are rejected by default.",
        rule=names.function, pattern=names.IDENTIFIER,
    ),
    Field(
        "by", "string",
        "Where a message says its type: a key of its metadata, a message attribute, or a dotted path in "
        "its content.",
        rule=names.key, pattern=names.KEY,
    ),
    Field(
        "types", "object",
        "The types of messages, each with its handler and its payload.",
        rule=names.table,
    ),
    Field(
        "error_handler", "string",
        "The function called when the handler raises; queues may share one.",
        rule=names.function, pattern=names.IDENTIFIER,
    ),
    Field(
        "translator", "string",
        "A class that decodes messages, or `none` for raw ones; by default bodies are JSON.",
        rule=lambda name: None if name == "none" else names.class_(name), pattern=names.IDENTIFIER,
    ),
    Field(
        "payload", "string",
        "The model of a message's content, one of `payloads`; by default any JSON.",
        rule=names.model, pattern=names.IDENTIFIER,
    ),
    Field(
        "dead_letter_queue", "string", "The queue for messages that cannot be handled.",
        rule=names.queue, pattern=_ANY_QUEUE,
    ),
    Field(
        "max_receive_count", "integer",
        "After how many receives a message goes to the dead-letter queue; by default 5.",
        minimum=1, maximum=1000,
    ),
)

# The keys of a type of messages.
TYPE = (
    Field(
        "handler", "string",
        "The function that handles a message of this type; by default `handle_` and the type.",
        rule=names.function, pattern=names.IDENTIFIER,
    ),
    Field(
        "payload", "string",
        "The model of its content, one of `payloads`; by default any JSON.",
        rule=names.model, pattern=names.IDENTIFIER,
    ),
)

# The settings of a queue's subscription to its topic.
SUBSCRIPTION = (
    Field(
        "raw_message_delivery", "boolean",
        "Whether the topic's messages arrive without SNS's envelope; by default false.",
        attribute="RawMessageDelivery", default=False,
    ),
    Field(
        "filter_policy", "object",
        "Which of the topic's messages the queue gets; by default all.",
        rule=names.filter_policy, attribute="FilterPolicy",
    ),
    Field(
        "filter_policy_scope", "string",
        "What the filter policy looks at; by default `MessageAttributes`.",
        choices=("MessageAttributes", "MessageBody"),
        attribute="FilterPolicyScope", default="MessageAttributes",
    ),
)

# The settings of a FIFO queue.
FIFO = (
    Field(
        "content_based_deduplication", "boolean",
        "Whether messages without a deduplication id get one from their body; by default false.",
        attribute="ContentBasedDeduplication", default=False,
    ),
    Field(
        "deduplication_scope", "string",
        "Within what a FIFO queue removes duplicates; by default `queue`.",
        choices=("queue", "messageGroup"), attribute="DeduplicationScope", default="queue",
    ),
    Field(
        "fifo_throughput_limit", "string",
        "What the throughput limit of a FIFO queue applies to; by default `perQueue`.",
        choices=("perQueue", "perMessageGroupId"),
        attribute="FifoThroughputLimit", default="perQueue",
    ),
)

# The keys of a topic that is given as a table.
TOPIC = (
    Field("name", "string", "The topic's name or ARN.", required=True, rule=names.topic),
    Field(
        "create", "boolean",
        "Whether the deployed queues bring the topic; by default true for a name, false for an ARN.",
    ),
)

# The options of a queue's route.
OPTIONS = (
    Field(
        "wait_time", "integer", "Seconds that a receive waits for messages (long polling).",
        minimum=0, maximum=20, receive="WaitTimeSeconds",
    ),
    Field(
        "batch_size", "integer", "Messages that one receive brings at most.",
        minimum=1, maximum=10, receive="MaxNumberOfMessages",
    ),
    Field(
        "visibility_timeout", "integer",
        "Seconds for which a received message is hidden from other receivers.",
        minimum=1, maximum=43200, receive="VisibilityTimeout",
    ),
    Field(
        "concurrency", "integer",
        "Messages of this queue that are handled at the same time, at most.",
        minimum=1, maximum=10000, keyword="concurrency",
    ),
    Field(
        "prefetch", "integer", "Messages held ready beyond those being handled.",
        minimum=0, maximum=10000, keyword="prefetch",
    ),
    Field(
        "handler_timeout", "number",
        "Seconds that handling one message may take; by default 60.",
        more_than=0, maximum=43200, keyword="handler_timeout",
    ),
    Field(
        "rate_limit", "number",
        "Messages of this queue whose handling begins in one second, at most.",
        more_than=0, keyword="rate_limit",
    ),
    Field(
        "breaker_threshold", "integer",
        "Failures in a row after which the queue is left alone for a while.",
        minimum=1, keyword="breaker_threshold",
    ),
    Field(
        "breaker_recovery", "number",
        "Seconds for which the queue is then left alone, before one message probes.",
        more_than=0, maximum=86400, keyword="breaker_recovery",
    ),
    Field(
        "max_receivers", "integer",
        "Long polls of this queue that may be open at the same time; by default 100.",
        minimum=1, maximum=100, keyword="max_receivers",
    ),
    Field(
        "linger", "number",
        "Seconds that a deletion waits for others, to share one request; by default 0.2.",
        minimum=0, maximum=60, keyword="linger",
    ),
    Field(
        "heartbeat", "boolean",
        "Whether messages in hand are kept hidden beyond the visibility timeout; by default true.",
        keyword="heartbeat",
    ),
    Field(
        "max_processing_time", "number",
        "Seconds after its receive for which a message is kept hidden, at most.",
        more_than=0, maximum=43200, keyword="max_processing_time",
    ),
    Field(
        "cancel_on_lost_lease", "boolean",
        "Whether a handler is cancelled when another consumer may have its message; by default true.",
        keyword="cancel_on_lost_lease",
    ),
    Field(
        "dead_letter_exhausted", "boolean",
        "Whether the service moves a message that fails on its last receive to the dead-letter queue "
        "itself, with the reason; by default true.",
        keyword="dead_letter_exhausted",
    ),
    Field(
        "retry_delay", "number",
        "Seconds that the first retry waits at most; it doubles from try to try; by default 2.",
        minimum=0, maximum=43200, keyword="retry_delay",
    ),
    Field(
        "retry_delay_cap", "number", "Seconds that a retry waits at most; by default 900.",
        minimum=0, maximum=43200, keyword="retry_delay_cap",
    ),
    Field(
        "poll_grace", "number",
        "Seconds that an open long poll is given to return when the service stops; by default 5.",
        minimum=0, maximum=30, keyword="poll_grace",
    ),
)

# The values of `with`.
ARTEFACTS = (
    Artefact(
        "ci", "a GitHub Actions workflow that lints, type-checks and tests",
        (".github/workflows/ci.yml",),
    ),
    Artefact("compose", "the service beside a local SQS server, in containers", ("compose.yaml",)),
    Artefact(
        "cloudformation", "the queues, their alarms and the IAM policy, as a CloudFormation stack",
        ("deploy/cloudformation.yaml",),
    ),
    Artefact("sam", "the same as a SAM application", ("deploy/sam.yaml",)),
    Artefact(
        "terraform", "the same as a Terraform module",
        (
            "deploy/terraform/main.tf", "deploy/terraform/outputs.tf",
            "deploy/terraform/variables.tf", "deploy/terraform/versions.tf",
        ),
    ),
    Artefact(
        "kubernetes", "a Deployment that KEDA scales on the queues' lengths",
        ("deploy/kubernetes.yaml",),
    ),
    Artefact(
        "ecs", "an ECS service on Fargate that scales on the backlog of each task",
        ("deploy/ecs.yaml",),
    ),
    Artefact(
        "lambda", "an AWS Lambda function with the same routes, as a SAM application",
        ("deploy/lambda.yaml", "tests/test_aws_lambda.py", "{package}/aws_lambda.py"),
    ),
    Artefact(
        "monitoring",
        "metrics of the service, a Grafana dashboard, Prometheus alerts and their runbook",
        (
            "deploy/monitoring/alerts.yaml", "deploy/monitoring/dashboard.json",
            "deploy/monitoring/runbook.md",
        ),
    ),
)
# fmt: on

#: The names of the artefacts, and of those that a service of RabbitMQ may have.
ARTEFACT_NAMES = tuple(artefact.name for artefact in ARTEFACTS)
ARTEFACTS_FOR_RABBITMQ = ("ci", "compose", "kubernetes")

#: What AWS itself keeps of a queue and of its subscription.
ATTRIBUTES = SUBSCRIPTION + FIFO

#: Every key of a queue.
EVERY = QUEUE + ATTRIBUTES + OPTIONS

#: The same for a queue of RabbitMQ, whose names follow another rule.
EVERY_OF_AMQP = tuple(
    replace(row, rule=names.amqp_queue) if row.pattern is _ANY_QUEUE else row for row in EVERY
)


def amqp_dead_letter_queue(queue: str, named: str | None) -> str:
    """Return the dead-letter queue of a queue of RabbitMQ: the one that its spec names, or its own."""
    return named or f"{queue}.dead"
