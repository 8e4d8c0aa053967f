"""The embedded server: moto's SQS and SNS over HTTP, in a thread of this process."""

import logging
import re
import socket
import threading
import urllib.request
from types import TracebackType
from typing import Any, ClassVar, Self

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.local.environments import DEFAULT_REGION, child_environment, environment
from loafer_kit.local.polls import LongPolls

HOST = "127.0.0.1"

_SIGNED_REGION = re.compile(r"(Credential=[^/]+/\d+/)[^/]+")


class LocalServer:
    """An SQS and SNS server on 127.0.0.1, for as long as the `with` block lasts.

    `port` 0 takes a free one. The queues live in this process: the first server starts without
    any, servers that run at the same time share them. Good for development and tests; it is slow
    on deep queues, and proves nothing about concurrency.

    Raises `MissingExtraError` without the extra `local`, `ConfigurationError` when the port is
    taken.

    `region` stands in the ARNs; clients of any region see the same queues.
    """

    _running: ClassVar[int] = 0

    def __init__(self, port: int = 0, region: str = DEFAULT_REGION) -> None:
        self._port = port
        self._region = region
        self._server: Any = None
        self._polls: LongPolls | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The endpoint: `http://127.0.0.1:PORT`."""
        return f"http://{HOST}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The AWS variables that lead a client here."""
        return environment(self.url, self._region)

    def child_environment(self) -> dict[str, str]:
        """Return this process's environment with the AWS variables that lead a child here."""
        return child_environment(self.url, region=self._region)

    def start(self) -> None:
        """Listen, and return when the server answers."""
        application, handler, make_server = _load()
        self._polls = LongPolls(_in_one_region(application, self._region))
        with _bind(self._port) as listener:
            self._port = listener.getsockname()[1]
            self._server = make_server(
                HOST,
                self._port,
                self._polls,
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
        if not LocalServer._running:
            self._forget_queues()
        LocalServer._running += 1

    @property
    def was_polled(self) -> bool:
        """Whether somebody has asked for messages yet."""
        return self._polls is not None and self._polls.was_polled

    def received_more_than(self, times: int, queue: str) -> int:
        """Return how many messages of a queue were received more than so many times."""
        if self._polls is None:
            return 0
        return sum(count > times for count in self._polls.receives[queue].values())

    def release_polls(self) -> None:
        """Answer open long polls soon and later ones at once: a consumer that stops need not wait."""
        if self._polls is not None:
            self._polls.release()

    def stop(self) -> None:
        """Stop listening; stopping twice is harmless."""
        if self._thread is None:
            return
        self.release_polls()
        self._server.shutdown()
        self._thread.join()
        self._server = self._thread = None
        LocalServer._running -= 1

    def _forget_queues(self) -> None:
        reset = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")  # noqa: S310
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(reset):
            pass

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


def _load() -> tuple[Any, Any, Any]:
    """Return moto's application, a request handler that logs nothing, and werkzeug's factory."""
    try:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server
    except ImportError as error:
        raise MissingExtraError("The local SQS server", "local") from error

    class QuietRequestHandler(MotoRequestHandler):  # type: ignore[misc, unused-ignore]
        protocol_version = "HTTP/1.0"  # a stopped server must not answer on a kept connection

        def log_request(self, *_args: object) -> None: ...

        def log_error(self, *args: Any) -> None:
            logging.getLogger(__name__).warning(*args)

    return DomainDispatcherApplication(create_backend_app), QuietRequestHandler, make_server


def _in_one_region(application: Any, region: str) -> Any:
    """Return `application`, where a request's region, which moto keeps apart, is always `region`."""

    def within(environ: dict[str, Any], start_response: Any) -> Any:
        signature = environ.get("HTTP_AUTHORIZATION", "")
        environ["HTTP_AUTHORIZATION"] = _SIGNED_REGION.sub(rf"\g<1>{region}", signature)
        return application(environ, start_response)

    return within


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
