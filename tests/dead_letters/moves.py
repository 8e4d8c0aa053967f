"""A stub of the three actions of message move tasks, which the embedded server lacks."""

import json
import uuid

from moto.sqs.responses import SQSResponse

from loafer_kit.local import gates

#: Letters that a task moves between two looks at it.
STEP = 3


class MoveTasks:
    """The tasks of a server; each look at one moves some of its letters."""

    def __init__(self, queues):
        self._queues = queues
        self.tasks = []

    def install(self, patch):
        patch.setattr(gates, "MISSING", frozenset())
        for name in ("start", "cancel", "list"):
            method = getattr(self, f"_{name}")
            action = f"{name}_message_move_task{'s' if name == 'list' else ''}"
            patch.setattr(SQSResponse, action, _answering(method), raising=False)

    def _start(self, request):
        if any(task["Status"] == "RUNNING" for task in self.tasks):
            return 400, {"__type": "UnsupportedOperation", "message": "a task is running"}
        dead = request["SourceArn"].rpartition(":")[2]
        task = {
            "TaskHandle": uuid.uuid4().hex,
            "Status": "RUNNING",
            "SourceArn": request["SourceArn"],
            "DestinationArn": request.get("DestinationArn"),
            "MaxNumberOfMessagesPerSecond": request.get("MaxNumberOfMessagesPerSecond"),
            "ApproximateNumberOfMessagesMoved": 0,
            "ApproximateNumberOfMessagesToMove": self._queues.counts(dead).visible,
        }
        self.tasks.insert(0, task)
        return 200, {"TaskHandle": task["TaskHandle"]}

    def _list(self, request):
        found = [task for task in self.tasks if task["SourceArn"] == request["SourceArn"]]
        for task in found[:1]:
            if task["Status"] == "RUNNING":
                self._step(task)
        shown = [
            {
                key: value
                for key, value in task.items()
                if key != "TaskHandle" or task["Status"] == "RUNNING"
            }
            for task in found
        ]
        return 200, {"Results": shown[: request.get("MaxResults", 1)]}

    def _cancel(self, request):
        for task in self.tasks:
            if task["TaskHandle"] == request["TaskHandle"]:
                task["Status"] = "CANCELLED"
        return 200, {
            "ApproximateNumberOfMessagesMoved": self.tasks[0]["ApproximateNumberOfMessagesMoved"]
        }

    def _step(self, task):
        source, target = (task[key].rpartition(":")[2] for key in ("SourceArn", "DestinationArn"))
        received = self._queues.receive(source)
        letters = received[:STEP]
        for letter in reversed(received[STEP:]):
            self._queues.make_visible(source, letter["ReceiptHandle"])
        for letter in letters:
            self._queues.send(target, letter["Body"])
        self._queues.delete_messages(source, letters)
        task["ApproximateNumberOfMessagesMoved"] += len(letters)
        if not letters:
            task["Status"] = "COMPLETED"


def _answering(method):
    def answer(response):
        status, answer = method(json.loads(response.body))
        return status, {"status": status}, json.dumps(answer)

    return answer
