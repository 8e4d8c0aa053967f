"""A stage for a browser: queues, a service with a control socket, and a console, in a thread."""

import asyncio
import contextlib
import json
import threading
from urllib.parse import urlsplit

from loafer_kit.console.queues import Queue
from loafer_kit.console.server import Console, Service
from loafer_kit.exceptions import RejectMessage
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.managers import LoaferManager
from loafer_kit.operations.http import Address
from loafer_kit.scaffold.spec import payloads, validation
from loafer_kit.scaffold.spec.specs import Draft

SPEC = {
    "name": "shop",
    "queues": [
        {"name": "orders", "dead_letter_queue": "orders-dead", "payload": "Order"},
        {"name": "mails", "dead_letter_queue": "mails-dead"},
        {"name": "audit.fifo", "dead_letter_queue": "audit-dead.fifo", "payload": "Order"},
    ],
    "payloads": {
        "Address": {"street": "str", "city": "str"},
        "Order": {
            "number": "int",
            "customer": "str",
            "status": "Literal['placed', 'paid']",
            "express": "bool",
            "ship_to": "Address",
            "lines": "list[str]",
            "note": "str | None",
        },
    },
}


#: The queues that the service of a stage has routes for.
ROUTES = ("orders", "mails")


class Threaded:
    """Runs asynchronous context managers in the event loop of a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def enter(self, make):
        """Enter what `make` returns in the loop; return what it yields, and what leaves it."""
        stack = contextlib.AsyncExitStack()

        async def enter():
            return await stack.enter_async_context(make())

        return self.run(enter()), lambda: self.run(stack.aclose())

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def handle(message, metadata):
    """Do what the message says."""
    content = message if isinstance(message, dict) else {}
    if "wait" in content:
        await asyncio.sleep(content["wait"])
    if "raise" in content:
        raise KeyError(content["raise"])
    if "reject" in content:
        raise RejectMessage(content["reject"])
    return True


@contextlib.asynccontextmanager
async def serving(concurrency=8):
    manager = LoaferManager(
        [
            SQSRoute(
                name,
                handler=handle,
                name=name,
                concurrency=concurrency,
                dead_letter_queue=f"{name}-dead",
            )
            for name in ROUTES
        ],
        name="shop",
        grace_time=0,
    )
    task = asyncio.create_task(manager.serve())
    try:
        yield manager
    finally:
        task.cancel()
        await asyncio.wait([task])


class Stage:
    """What a test of the page needs; `url` begins a session."""

    def __init__(self, server, queues, control):
        self._server = server
        spec = validation.service(Draft(SPEC))
        self.queues = queues
        self.control = control
        self.services = [
            Service(
                "shop",
                [
                    Queue(
                        queue.queue_name,
                        queue.dead_letter_queue,
                        queue.payload and payloads.schema(queue.payload, spec.payloads),
                        queue.payload
                        and json.dumps(payloads.example(queue.payload, spec.payloads), indent=2),
                    )
                    for queue in spec.queues
                ],
                control,
            )
        ]
        self.threaded = Threaded()
        self.closing = {}
        self.port = 0

    def open_console(self, *, write=True):
        """Open a console, on the port of the one before."""
        address = Address("127.0.0.1", self.port)
        self.url, self.closing["console"] = self.threaded.enter(
            lambda: Console(self.services, write=write).listening(address)
        )
        self.port = urlsplit(self.url).port

    def open_service(self):
        self._server.polls.hold(ROUTES)
        self.manager, self.closing["service"] = self.threaded.enter(serving)

    def close(self, name):
        """Close the console or the service, if it is open."""
        # A poll that its service has given up would still take a message, from a later test as well.
        self._server.polls.release(ROUTES)
        self.closing.pop(name, lambda: None)()

    def end(self):
        for name in list(self.closing):
            self.close(name)
        self.threaded.close()
