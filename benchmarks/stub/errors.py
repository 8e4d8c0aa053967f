"""The errors that SQS answers with, whole requests and single batch entries alike."""

from typing import Any


class ApiError(Exception):
    """The base: `code` is what clients read, `shape` the JSON protocol's name of the exception."""

    code = "InternalFailure"
    shape = "InternalFailure"
    status = 400

    def render(self) -> dict[str, str]:
        return {"__type": f"com.amazonaws.sqs#{self.shape}", "message": str(self)}

    def entry(self, entry_id: str) -> dict[str, Any]:
        return {"Id": entry_id, "Code": self.code, "Message": str(self), "SenderFault": True}


class QueueMissingError(ApiError):
    code = "AWS.SimpleQueueService.NonExistentQueue"
    shape = "QueueDoesNotExist"


class InvalidReceiptHandleError(ApiError):
    code = "ReceiptHandleIsInvalid"
    shape = "ReceiptHandleIsInvalid"


class NotInFlightError(ApiError):
    code = "AWS.SimpleQueueService.MessageNotInflight"
    shape = "MessageNotInflight"


class EmptyBatchError(ApiError):
    code = "AWS.SimpleQueueService.EmptyBatchRequest"
    shape = "EmptyBatchRequest"


class TooManyEntriesError(ApiError):
    code = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"
    shape = "TooManyEntriesInBatchRequest"


class RepeatedEntryError(ApiError):
    code = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"
    shape = "BatchEntryIdsNotDistinct"


class InvalidValueError(ApiError):
    code = "InvalidParameterValue"
    shape = "InvalidParameterValueException"


class UnsupportedError(ApiError):
    code = "AWS.SimpleQueueService.UnsupportedOperation"
    shape = "UnsupportedOperation"


class ThrottledError(ApiError):
    code = "ThrottlingException"
    shape = "ThrottlingException"
