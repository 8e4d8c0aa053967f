"""Servers on this machine: LocalServer, the variables that lead to one, and the records of those in use.

Each running `loafer-kit dev` keeps one record, a file in the user's folder below the temporary
directory, by which other commands find its server and services. It locks the file, and the system
releases the lock however the process ends: a file without a lock is stale and is removed.
"""

import contextlib
import fcntl
import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlsplit

from loafer_kit.exceptions import ConfigurationError, LoaferKitError, MissingExtraError

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

    from loafer_kit.local.gates import Gate, LongPolls

HOST = "127.0.0.1"

#: Keys that a local server accepts and AWS does not.
ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 - not a secret

DEFAULT_REGION = "us-east-1"

_LOOPBACK = frozenset(["127.0.0.1", "::1", "localhost"])


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
        self._server: BaseWSGIServer | None = None
        self._gate: Gate | None = None
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
        try:
            from loafer_kit.local import gates  # it imports moto, which is an extra
        except ImportError as error:
            raise MissingExtraError("The local SQS server", "local") from error
        self._gate = gates.Gate(self._region)
        if not LocalServer._running:
            self._gate.forget_all()
        with _bind(self._port) as listener:
            self._port = listener.getsockname()[1]
            self._server = self._gate.listen(listener)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="loafer-kit-local-server",
            daemon=True,
        )
        self._thread.start()
        LocalServer._running += 1

    def clear(self) -> None:
        """Forget all queues and topics: those of every server of this process."""
        if self._gate is not None:
            self._gate.forget_all()

    @property
    def polls(self) -> "LongPolls":
        """The long polls at this server, which was started."""
        if self._gate is None:
            raise RuntimeError("The server was not started: call start(), or use it in `with`.")
        return self._gate.polls

    def stop(self) -> None:
        """Stop listening; a second call does nothing."""
        if self._server is None or self._thread is None:
            return
        self.polls.close()
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


def is_local(endpoint_url: str | None) -> bool:
    """Return whether an endpoint is on this machine; raise `ValueError` if it is not a URL."""
    return endpoint_url is not None and urlsplit(endpoint_url).hostname in _LOOPBACK


def environment(url: str, region: str = DEFAULT_REGION) -> dict[str, str]:
    """Return the AWS variables for the server at `url`.

    They also set the endpoint of each service, which takes precedence over `AWS_ENDPOINT_URL`, hide
    the user's configuration files, whose profiles may set endpoints, and bypass a proxy.
    """
    return {
        **_no_proxy(),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL_SQS": url,
        "AWS_ENDPOINT_URL_SNS": url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def child_environment(
    url: str, base: Mapping[str, str] | None = None, region: str = DEFAULT_REGION
) -> dict[str, str]:
    """Return `base` (by default this process's) with its AWS variables replaced by `environment`.

    So no profile, session token or role of the user reaches the child process.
    """
    source = os.environ if base is None else base
    kept = {name: value for name, value in source.items() if not name.startswith("AWS_")}
    return kept | environment(url, region)


def _no_proxy() -> dict[str, str]:
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    hosts = f"{known},127.0.0.1" if known else "127.0.0.1"
    return {"no_proxy": hosts, "NO_PROXY": hosts}


# The records


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A running server: its URL, its services, and the names that `send` completes.

    `queues` includes dead-letter queues. `rabbitmq` is the URL of the broker beside it, if there is one.
    """

    url: str
    service: str
    pid: int = field(default_factory=os.getpid)
    queues: Sequence[str] = field(default_factory=list)
    topics: Sequence[str] = field(default_factory=list)
    rabbitmq: str | None = None


@contextlib.contextmanager
def announce(record: ServerRecord) -> Iterator[Path]:
    """Let `running` find `record` until the block ends."""
    path = _folder() / f"server-{record.pid}.json"
    unfinished = path.with_suffix(".new")  # visible only when it is complete and locked
    with unfinished.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(asdict(record), file)
        file.flush()
        unfinished.rename(path)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def running() -> list[ServerRecord]:
    """Return the running servers, the one started last first; remove stale records."""
    found = []
    for path in _folder().glob("server-*.json"):
        # It was removed meanwhile, is incomplete, or was written by another version of this package.
        with contextlib.suppress(OSError, ValueError, TypeError):
            record = _read(path)
            if record is not None:
                found.append((path.stat().st_mtime, record))
    return [record for _, record in sorted(found, key=lambda item: item[0], reverse=True)]


def control_path(package: str) -> Path:
    """Return where a service of `dev` has its control socket."""
    return _folder() / f"{package}.control"


def control_paths() -> list[Path]:
    """Return the control sockets of the services that `dev` runs."""
    return sorted(_folder().glob("*.control"))


def _read(path: Path) -> ServerRecord | None:
    with path.open(encoding="utf-8") as file:
        if _is_locked(file.fileno()):
            return ServerRecord(**json.load(file))
    path.unlink(missing_ok=True)
    return None


def _folder() -> Path:
    """Return the folder of this user's records; only this user can write there."""
    folder = Path(tempfile.gettempdir(), f"loafer-kit-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise LoaferKitError(
            f"{folder} belongs to another user, or others may write there: remove it"
        )
    return folder


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
