"""Limits that AWS sets, each named after the service that sets it.

Sources: "Amazon SQS quotas" in the SQS developer guide, and the API reference of the action.
"""

#: Messages of one ReceiveMessage, and entries of one batch request.
SQS_BATCH_SIZE = 10

#: Bytes of one message, and of all messages of one SendMessageBatch: 1 MiB.
SQS_BATCH_BYTES = 1_048_576

#: Bytes of all messages of one PublishBatch, unless the topic's MaximumMessageSize is raised.
SNS_BATCH_BYTES = 262_144

#: Seconds that ReceiveMessage waits at most (WaitTimeSeconds).
SQS_LONGEST_POLL = 20

#: Seconds that a message stays hidden at most, counted from its receive: 12 hours.
SQS_LONGEST_VISIBILITY = 43_200

#: Seconds: the visibility timeout of a queue that was created without one.
SQS_DEFAULT_VISIBILITY = 30

#: Messages of one queue that are received and neither deleted nor visible again. At the limit a
#: standard queue answers OverLimit or nothing, a FIFO queue nothing.
SQS_MESSAGES_IN_FLIGHT = 120_000

#: Message attributes of one message.
SQS_MESSAGE_ATTRIBUTES = 10
