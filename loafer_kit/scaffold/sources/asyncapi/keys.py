"""What the spec says of the objects of AsyncAPI and of the bindings for SQS and SNS."""

from loafer_kit.scaffold.sources.keys import keys

# Words about an object, for readers.
_WORDS = "description externalDocs summary tags title"

# Where the brokers are, and how to log in, is the environment's affair.
DOCUMENT = keys("asyncapi channels components defaultContentType info operations", "id servers")
CHANNEL = keys("address bindings messages publish subscribe", f"{_WORDS} servers")
OPERATION = keys("action bindings channel message messages operationId traits", _WORDS)
MESSAGE = keys(
    "bindings contentType name payload schemaFormat traits", f"{_WORDS} examples messageId"
)
# Other protocols, and what the protocols that are read have no binding for.
BINDINGS = keys("sns sqs")
MESSAGE_BINDINGS = keys("")

SQS_CHANNEL = keys("deadLetterQueue queue", "bindingVersion")
SQS_OPERATION = keys("queues", "bindingVersion")
SNS_CHANNEL = keys("name", "bindingVersion")
SNS_OPERATION = keys("consumers topic", "bindingVersion")
# `displayName` is what SMS shows.
CONSUMER = keys(
    "endpoint name protocol rawMessageDelivery",
    "displayName",
    {"filterPolicyScope": ("messageattributes",)},
)
_QUEUE_DEFAULTS = {
    "deduplicationScope": ("queue",),
    "deliveryDelay": ("0",),
    "fifoThroughputLimit": ("perqueue",),
    "messageRetentionPeriod": ("345600",),
    "receiveMessageWaitTime": ("0",),
    "visibilityTimeout": ("30",),
}
QUEUE = keys(
    "fifoQueue name receiveMessageWaitTime redrivePolicy visibilityTimeout",
    defaults=_QUEUE_DEFAULTS,
)
# Of a dead-letter queue the spec says the name, which tells FIFO too.
DEAD_LETTER_QUEUE = keys("fifoQueue name", defaults=_QUEUE_DEFAULTS)
REDRIVE_POLICY = keys("deadLetterQueue maxReceiveCount")
