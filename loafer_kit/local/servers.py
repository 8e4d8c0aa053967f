"""LocalServer: moto's SQS and SNS over HTTP, in a thread of this process."""

import logging
import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, ClassVar, Self

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.local.environments import DEFAULT_REGION, child_environment, environment
from loafer_kit.local.gates import SERVICES, Gate
from loafer_kit.local.long_polls import LongPolls

HOST = "127.0.0.1"


class LocalServer:
    """An SQS and SNS server on 127.0.0.1, for as long as the `with` block lasts.

    It answers the signed requests of AWS clients on this machine, and refuses those of web pages.
    `port` 0 takes a free one. The queues are in the memory of this process: the first server starts
    without any, servers that run at the same time share them. For development and tests: it is slow
    on deep queues and has data races, so it proves nothing about concurrency. `region` is the one
    in the ARNs; clients of any region see the same queues.

    Raises `MissingExtraError` without the extra `local`, `ConfigurationError` if the port is taken.
    """

    _running: ClassVar[int] = 0

    def __init__(self, port: int = 0, region: str = DEFAULT_REGION) -> None:
        self._port = port
        self._region = region
        self._server: Any = None
        self._backend_of: Any = None
        self._polls: LongPolls | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The endpoint: `http://127.0.0.1:PORT`."""
        return f"http://{HOST}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The AWS variables that direct a client to this server."""
        return environment(self.url, self._region)

    def child_environment(self) -> dict[str, str]:
        """Return this process's environment with AWS variables that direct a child to this server."""
        return child_environment(self.url, region=self._region)

    def start(self) -> None:
        """Start listening, and return when the server answers."""
        create_application, handler, make_server, self._backend_of = _load()
        if not LocalServer._running:
            self.clear()
        services = {name: create_application(name) for name in SERVICES}
        services["sqs"] = self._polls = LongPolls(services["sqs"])
        with _bind(self._port) as listener:
            self._port = listener.getsockname()[1]
            self._server = make_server(
                HOST,
                self._port,
                Gate(services, self._region),
                threaded=True,
                request_handler=handler,
                fd=listener.fileno(),
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="loafer-kit-local-server",
            daemon=True,
        )
        self._thread.start()
        LocalServer._running += 1

    def clear(self) -> None:
        """Forget all queues and topics: those of every server of this process.

        What other services of moto hold in this process stays.
        """
        for service in SERVICES:
            for backend in self._backend_of(service).values():
                backend.reset()

    @property
    def was_polled(self) -> bool:
        """Whether a client has asked for messages."""
        return self._polls is not None and self._polls.was_polled

    def receipt_handle(self, queue: str, message_id: str) -> str | None:
        """Return the latest receipt handle of a message that was received."""
        return None if self._polls is None else self._polls.handles[queue].get(message_id)

    def release_polls(self, queues: Iterable[str]) -> None:
        """Answer open long polls of some queues soon and later ones at once.

        So a consumer of them can stop quickly.
        """
        if self._polls is not None:
            self._polls.release(queues)

    def hold_polls(self, queues: Iterable[str]) -> None:
        """Let long polls of some queues wait again."""
        if self._polls is not None:
            self._polls.hold(queues)

    def stop(self) -> None:
        """Stop listening; a second call does nothing."""
        if self._thread is None:
            return
        if self._polls is not None:
            self._polls.close()
        self._server.shutdown()
        self._thread.join()
        self._server = self._thread = None
        LocalServer._running -= 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _load() -> tuple[Any, Any, Any, Any]:
    """Return moto's factory of applications, a quiet handler, werkzeug's factory and moto's backends."""
    try:
        from moto.backends import get_backend
        from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server
    except ImportError as error:
        raise MissingExtraError("The local SQS server", "local") from error

    class QuietRequestHandler(MotoRequestHandler):  # type: ignore[misc, unused-ignore]
        protocol_version = "HTTP/1.0"  # a stopped server must not answer on an open connection

        def log_request(self, *_args: object) -> None: ...

        def log_error(self, *args: Any) -> None:
            logging.getLogger(__name__).warning(*args)

    return create_backend_app, QuietRequestHandler, make_server, get_backend


def _bind(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Cannot listen on {HOST}:{port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from error
    listener.listen(128)
    return listener
