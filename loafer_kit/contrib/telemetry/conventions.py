"""Names of OpenTelemetry's semantic conventions for messaging, version 1.45.0.

The conventions for messaging are in development: names change between versions. Python's package of
them lags behind, so the names are written here.
"""

from types import MappingProxyType

SCHEMA_URL = "https://opentelemetry.io/schemas/1.45.0"

# Attributes
SYSTEM = "messaging.system.name"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
BATCH_COUNT = "messaging.batch.message_count"
MESSAGE_ID = "messaging.message.id"
QUEUE_URL = "aws.sqs.queue.url"
TOPIC_ARN = "aws.sns.topic.arn"
REQUEST_ID = "aws.request_id"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

# Operations, of which the conventions prescribe the types and leave the names free
PROCESS = "process"
SEND = "send"

#: The name and the type of each action of SQS that is an operation of its own.
ACTIONS = MappingProxyType(
    {
        "ReceiveMessage": ("receive", "receive"),
        "DeleteMessageBatch": ("delete", "settle"),
        "ChangeMessageVisibilityBatch": ("change_visibility", "settle"),
    }
)

#: The values of `messaging.system.name` by broker.
SYSTEMS = MappingProxyType({"sqs": "aws.sqs", "sns": "aws.sns"})

# Metrics
PROCESS_DURATION = "messaging.process.duration"
OPERATION_DURATION = "messaging.client.operation.duration"
CONSUMED = "messaging.client.consumed.messages"
SENT = "messaging.client.sent.messages"

#: Seconds: the boundaries of both histograms.
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

#: The log event of an exception that a handler raises.
PROCESS_EXCEPTION = "messaging.process.exception"
