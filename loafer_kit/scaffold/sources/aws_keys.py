"""What the spec says of the attributes that AWS itself has for queues, topics and subscriptions.

CloudFormation and SAM have the same words.
"""

from loafer_kit.scaffold.sources.keys import keys

#: A message may have 1 MiB; queues made before August 2025 allow 256 KiB by themselves.
MESSAGE_SIZES = ("262144", "1048576")

_QUEUE_DEFAULTS = {
    "ContentBasedDeduplication": ("false",),
    "DeduplicationScope": ("queue",),
    "DelaySeconds": ("0",),
    "FifoThroughputLimit": ("perqueue",),
    "KmsDataKeyReusePeriodSeconds": ("300",),
    "MaximumMessageSize": MESSAGE_SIZES,
    "MessageRetentionPeriod": ("345600",),
    "ReceiveMessageWaitTimeSeconds": ("0",),
    "SqsManagedSseEnabled": ("true",),
    "VisibilityTimeout": ("30",),
}
# What AWS counts, and where the queue is.
_MEASURED = """
    ApproximateNumberOfMessages ApproximateNumberOfMessagesDelayed
    ApproximateNumberOfMessagesNotVisible CreatedTimestamp LastModifiedTimestamp QueueArn
"""
QUEUE = keys(
    "FifoQueue QueueName ReceiveMessageWaitTimeSeconds RedrivePolicy VisibilityTimeout",
    _MEASURED,
    _QUEUE_DEFAULTS,
)
# Of a dead-letter queue the spec says the name, which tells FIFO too.
DEAD_LETTER_QUEUE = keys("FifoQueue QueueName", _MEASURED, _QUEUE_DEFAULTS)
REDRIVE_POLICY = keys("deadLetterTargetArn maxReceiveCount")
# `DisplayName` is what e-mail and SMS show.
TOPIC = keys(
    "FifoTopic Subscription TopicName",
    "DisplayName TopicArn",
    {
        "ContentBasedDeduplication": ("false",),
        "FifoThroughputScope": ("messagegroup",),
        "MaximumMessageSize": MESSAGE_SIZES,
        "SignatureVersion": ("1",),
        "TracingConfig": ("passthrough",),
    },
)
SUBSCRIPTION = keys(
    "Endpoint Protocol RawMessageDelivery TopicArn",
    """
    ConfirmationWasAuthenticated EffectiveDeliveryPolicy Owner PendingConfirmation SubscriptionArn
    SubscriptionPrincipal
    """,
    {"FilterPolicyScope": ("messageattributes",)},
)
# `ReportBatchItemFailures`, the one function response type, is what a service does anyhow: each
# message is settled alone.
MAPPING = keys(
    "BatchSize EventSourceArn Queue",
    "FunctionName FunctionResponseTypes",
    {"Enabled": ("true",), "MaximumBatchingWindowInSeconds": ("0",)},
)
