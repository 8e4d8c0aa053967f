"""The SQS actions: each takes the service and the request's fields and returns the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from benchmarks.stub.errors import (
    ApiError,
    EmptyBatchError,
    InvalidValueError,
    RepeatedEntryError,
    TooManyEntriesError,
)
from benchmarks.stub.messages import Payload
from benchmarks.stub.queues import Queue
from benchmarks.stub.service import Service

Request = Mapping[str, Any]
Answer = dict[str, Any] | bytes
Action = Callable[[Service, Request], Answer | Awaitable[Answer]]

MAX_ENTRIES = 10
MAX_PAYLOAD_BYTES = 1_048_576
MAX_VISIBILITY_TIMEOUT = 43_200


def receive_message(service: Service, request: Request) -> Answer | Awaitable[Answer]:
    queue = service.queue(request)
    wait = request.get("WaitTimeSeconds")
    seconds = int(queue.attributes["ReceiveMessageWaitTimeSeconds"] if wait is None else wait)
    answer = _take(queue, request)
    return answer if answer or seconds == 0 else _take_later(queue, request, seconds)


def _take(queue: Queue, request: Request) -> bytes:
    visibility = request.get("VisibilityTimeout")
    if visibility is None:
        visibility = int(queue.attributes["VisibilityTimeout"])
    limit = int(request.get("MaxNumberOfMessages") or 1)
    if not 1 <= limit <= MAX_ENTRIES:
        raise InvalidValueError(
            f"MaxNumberOfMessages must be from 1 to {MAX_ENTRIES}, not {limit}."
        )
    taken = queue.receive(limit, _visibility_timeout(visibility))
    if not taken:
        return b""
    system = request.get("MessageSystemAttributeNames") or request.get("AttributeNames") or ()
    names = request.get("MessageAttributeNames") or ()
    messages = [message.render(system, names) for message in taken]
    return b'{"Messages":[' + b",".join(messages) + b"]}"


async def _take_later(queue: Queue, request: Request, seconds: int) -> Answer:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        await queue.wait(left)
        if answer := _take(queue, request):
            return answer
    return {}


def send_message(service: Service, request: Request) -> Answer:
    return _send(service.queue(request), request)


def _send(queue: Queue, entry: Request) -> dict[str, Any]:
    body = entry["MessageBody"]
    if len(body.encode()) > MAX_PAYLOAD_BYTES:
        raise InvalidValueError(f"A message must be shorter than {MAX_PAYLOAD_BYTES} bytes.")
    payload = Payload.of(body, entry.get("MessageAttributes") or {})
    sent = {"MessageId": queue.send(payload), "MD5OfMessageBody": payload.md5_of_body}
    if payload.md5_of_attributes:
        sent["MD5OfMessageAttributes"] = payload.md5_of_attributes
    return sent


def delete_message(service: Service, request: Request) -> Answer:
    service.queue(request).delete(request["ReceiptHandle"])
    return {}


def change_message_visibility(service: Service, request: Request) -> Answer:
    _change_visibility(service.queue(request), request)
    return {}


def _change_visibility(queue: Queue, entry: Request) -> dict[str, Any]:
    timeout = _visibility_timeout(entry["VisibilityTimeout"])
    queue.change_visibility(entry["ReceiptHandle"], timeout)
    return {}


def _delete(queue: Queue, entry: Request) -> dict[str, Any]:
    queue.delete(entry["ReceiptHandle"])
    return {}


def _batch(one: Callable[[Queue, Request], dict[str, Any]]) -> Action:
    """Make an action's batch: every entry succeeds or fails by itself."""

    def batch(service: Service, request: Request) -> Answer:
        queue = service.queue(request)
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        for entry in _entries(request):
            try:
                answer["Successful"].append({"Id": entry["Id"], **one(queue, entry)})
            except ApiError as error:
                answer["Failed"].append(error.entry(entry["Id"]))
        return answer

    return batch


def _entries(request: Request) -> list[Request]:
    entries: list[Request] = request.get("Entries") or []
    if not entries:
        raise EmptyBatchError("There should be at least one entry in the request.")
    if len(entries) > MAX_ENTRIES:
        raise TooManyEntriesError(f"At most {MAX_ENTRIES} entries are allowed: {len(entries)}.")
    if len({entry["Id"] for entry in entries}) < len(entries):
        raise RepeatedEntryError("Two or more entries of the batch have the same id.")
    return entries


def _visibility_timeout(value: int) -> int:
    if not 0 <= value <= MAX_VISIBILITY_TIMEOUT:
        raise InvalidValueError(f"VisibilityTimeout must be from 0 to 43200, not {value}.")
    return value


def create_queue(service: Service, request: Request) -> Answer:
    queue = service.create(request["QueueName"], request.get("Attributes") or {})
    return {"QueueUrl": service.url(queue)}


def get_queue_url(service: Service, request: Request) -> Answer:
    return {"QueueUrl": service.url(service.named(request["QueueName"]))}


def list_queues(service: Service, request: Request) -> Answer:
    prefix = request.get("QueueNamePrefix") or ""
    queues = [queue for name, queue in service.queues.items() if name.startswith(prefix)]
    return {"QueueUrls": [service.url(queue) for queue in queues]}


def get_queue_attributes(service: Service, request: Request) -> Answer:
    queue = service.queue(request)
    known = queue.attributes | {
        "QueueArn": f"arn:aws:sqs:us-east-1:{service.ACCOUNT}:{queue.name}",
        "CreatedTimestamp": str(queue.created_at),
        "ApproximateNumberOfMessages": str(queue.visible),
        "ApproximateNumberOfMessagesNotVisible": str(queue.stored - queue.visible),
        "ApproximateNumberOfMessagesDelayed": "0",
    }
    wanted = request.get("AttributeNames") or ()
    return {"Attributes": {k: v for k, v in known.items() if "All" in wanted or k in wanted}}


def set_queue_attributes(service: Service, request: Request) -> Answer:
    service.queue(request).attributes.update(request["Attributes"])
    return {}


def purge_queue(service: Service, request: Request) -> Answer:
    service.queue(request).purge()
    return {}


def delete_queue(service: Service, request: Request) -> Answer:
    service.delete(service.queue(request))
    return {}


ACTIONS: dict[str, Action] = {
    "ReceiveMessage": receive_message,
    "SendMessage": send_message,
    "SendMessageBatch": _batch(_send),
    "DeleteMessage": delete_message,
    "DeleteMessageBatch": _batch(_delete),
    "ChangeMessageVisibility": change_message_visibility,
    "ChangeMessageVisibilityBatch": _batch(_change_visibility),
    "CreateQueue": create_queue,
    "DeleteQueue": delete_queue,
    "GetQueueUrl": get_queue_url,
    "ListQueues": list_queues,
    "GetQueueAttributes": get_queue_attributes,
    "SetQueueAttributes": set_queue_attributes,
    "PurgeQueue": purge_queue,
}
