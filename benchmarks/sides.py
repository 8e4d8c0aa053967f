"""The consumers that are measured, one row each."""

from dataclasses import dataclass, replace

from benchmarks.environments import CONSUMERS, Environment, Here, Node, Venv


@dataclass(frozen=True)
class Side:
    """A consumer: how to start it, and what publishes one message of its own format."""

    key: str
    title: str
    environment: Environment
    command: tuple[str, ...]
    publish: tuple[str, ...] = ()
    #: The part of the messages that it gets, so that a slow side does not take minutes.
    share: float = 1

    def start_command(self) -> list[str]:
        return self._resolve(self.command)

    def publish_command(self) -> list[str]:
        return self._resolve(self.publish)

    def _resolve(self, command: tuple[str, ...]) -> list[str]:
        program, *arguments = command
        return [self.environment.program(program), *arguments]


_HERE = Here(("loafer-kit", "aiobotocore", "botocore", "aiohttp", "uvloop"))
_NODE = Node(CONSUMERS / "sqs_consumer")

BASE = Side("bare", "bare aiobotocore, 8 loops, batch delete", _HERE, ("python", "bare.py"))
LOAFER = Side("loafer_kit", "loafer_kit, default settings", _HERE, ("python", "loafer_service.py"))
MONITORED = Side(
    "loafer_kit-monitored",
    "loafer_kit with Monitoring",
    _HERE,
    ("python", "loafer_service.py", "monitored"),
)
SIDES = (
    LOAFER,
    Side(
        "loafer_kit-botocore",
        'loafer_kit with transport="botocore"',
        _HERE,
        ("python", "loafer_service.py", "botocore"),
    ),
    Side(
        "loafer_kit-observed",
        "loafer_kit with an observer that counts",
        _HERE,
        ("python", "loafer_service.py", "observed"),
    ),
    MONITORED,
    BASE,
    Side(
        "tuned",
        "bare aiobotocore with uvloop and user_agent",
        _HERE,
        ("python", "bare.py", "tuned"),
    ),
    Side(
        "node-batch",
        "sqs-consumer (Node), 8 batch handlers",
        _NODE,
        ("node", "sqs_consumer/main.js", "batch"),
    ),
    Side(
        "node-one",
        "sqs-consumer (Node), 8, one by one",
        _NODE,
        ("node", "sqs_consumer/main.js", "one"),
        share=0.5,
    ),
    Side(
        "taskiq",
        "taskiq-aio-sqs, 1 worker",
        Venv(("taskiq-aio-sqs", "taskiq")),
        ("taskiq", "worker", "taskiq_app:broker", "--workers", "1", "--log-level", "WARNING"),
        publish=("python", "taskiq_app.py"),
        share=0.2,
    ),
    Side(
        "celery",
        "celery, 8 threads",
        Venv(("celery[sqs]", "kombu")),
        ("celery", "-A", "celery_app", "worker", "--pool=threads", "-c8", "--loglevel=WARNING"),
        publish=("python", "celery_app.py"),
        share=0.05,
    ),
    Side(
        "dramatiq",
        "dramatiq-sqs, 8 threads",
        Venv(("dramatiq-sqs", "dramatiq")),
        ("dramatiq", "dramatiq_app", "--processes", "1", "--threads", "8"),
        publish=("python", "dramatiq_app.py"),
        share=0.05,
    ),
)

BY_HAND = Side(
    "send-aiobotocore", "aiobotocore by hand", _HERE, ("python", "sender.py", "aiobotocore")
)
#: The sides that send messages.
SENDERS = (
    Side("send-loafer_kit", "loafer_kit's Producer", _HERE, ("python", "sender.py", "producer")),
    BY_HAND,
    Side(
        "send-tuned",
        "aiobotocore by hand with uvloop and user_agent",
        _HERE,
        ("python", "sender.py", "tuned"),
    ),
    Side("send-boto3", "boto3 by hand, 8 threads", _HERE, ("python", "sender.py", "boto3")),
    Side("send-node", "AWS SDK for Node by hand", _NODE, ("node", "sqs_consumer/sender.js")),
)

#: The sides that can run in several processes.
PROCESSES = tuple(side for side in SIDES if side.key in ("loafer_kit", "celery", "dramatiq"))


def in_processes(side: Side, count: int) -> Side:
    """Return a side that handles one message at a time in each of so many processes."""
    commands = {
        "celery": ("celery", "-A", "celery_app", "worker", "--pool=prefork", f"-c{count}"),
        "dramatiq": ("dramatiq", "dramatiq_app", "--processes", str(count), "--threads", "1"),
    }
    return replace(side, command=commands.get(side.key, side.command))


#: What a consumer is called there.
PROCESS_TITLES = {
    "loafer_kit": "loafer_kit",
    "celery": "celery, prefork",
    "dramatiq": "dramatiq-sqs",
}
