"""RabbitMQ for development: starts the broker that is installed, in a folder of its own."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from loafer_kit.config import route_variable
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local import servers
from loafer_kit.local.servers import is_local
from loafer_kit.local.services import ATTEMPTS, Delivery

INSTALL = (
    "RabbitMQ is not installed. Install it (on Debian: apt-get install rabbitmq-server), or name a "
    "broker: LOAFER_AMQP_URL=amqp://user:password@host/"
)

#: Seconds that the broker gets to stop.
_STOP = 20.0

#: Letters that are looked at, and seconds until the next one is there.
_MOST_LETTERS, _LOOK = 100, 0.5

#: The end of what the broker writes while it starts.
_READY = b"completed with"


def server_script() -> Path | None:
    """Return the script that starts RabbitMQ as any user; None if it is not installed.

    Debian's `rabbitmq-server` is a wrapper for the system's service; the script is beside it.
    """
    found = shutil.which("rabbitmq-server") or shutil.which("rabbitmq-server", path="/usr/sbin")
    if found is None:
        return None
    script = Path(found).resolve().with_name("rabbitmq-server")
    return script if script.exists() else Path(found)


@contextlib.contextmanager
def running_broker(port: int | None = None, folder: Path | None = None) -> Iterator[str]:
    """Run a broker until the block ends; yield its URL. Raises `ConfigurationError`.

    A process of its own watches over it, so that it ends with this process too. Its data are in
    `folder`; without one they end with it.
    """
    port = port or free_port()
    keeper = start_keeper(subprocess.PIPE, port, folder)
    try:
        wait_until_ready(keeper)
        yield url_of(port)
    finally:
        keeper.communicate()  # closes its lifeline


def development_broker() -> contextlib.AbstractContextManager[str]:
    """Return a broker for work on this machine, entered for its URL.

    It is the one that LOAFER_AMQP_URL names, if that is on this machine; or the one that is
    installed, started anew; or else the one that LOAFER_AMQP_URL names elsewhere. Raises
    `ConfigurationError`.
    """
    url = os.environ.get("LOAFER_AMQP_URL")
    if url and (is_local(url) or server_script() is None):
        return contextlib.nullcontext(url)
    if server_script() is None:
        raise ConfigurationError(INSTALL)
    return running_broker()


def url_in_use() -> str:
    """Return the URL of this process's broker, or that LOAFER_AMQP_URL names, or of a running `dev`.

    Raises `ConfigurationError` if there is none.
    """
    url = _url_in_use()
    if url is None:
        raise ConfigurationError(
            "No broker is named: start `loafer-kit dev` in another terminal, or set LOAFER_AMQP_URL"
        )
    return url


def _url_in_use() -> str | None:
    running = {record.pid: record.rabbitmq for record in servers.running() if record.rabbitmq}
    urls = (running.get(os.getpid()), os.environ.get("LOAFER_AMQP_URL"), *running.values())
    return next(filter(None, urls), None)


def extension() -> Any:
    """Return the package `ext.amqp`; raise `MissingExtraError` without the extra."""
    from loafer_kit.ext import amqp  # only a service of RabbitMQ has the extra

    return amqp


def address_of(url: str) -> str:
    """Return a broker's URL without its user and password."""
    return str(extension().connections.address_of(url))


def depths(queues: Iterable[str]) -> tuple[str, dict[str, int]]:
    """Return the address of the broker in use, and how many messages are ready in its queues.

    Without a broker in use, it is the one that a service asks by itself. Of the queues, only those
    that exist are counted; nothing is created. Raises `ConfigurationError` or `ProviderError`.
    """
    client = extension().connections
    url = client.broker_url(_url_in_use())

    async def look() -> dict[str, int]:
        connection = await client.connect(url, "doctor")
        try:
            return dict(await client.depths(connection, queues))
        finally:
            await client.disconnect(connection)

    return address_of(url), asyncio.run(look())


def put(url: str, queue: str, options: Mapping[str, Any], bodies: Iterable[str]) -> list[str]:
    """Declare a queue as its route does, and put messages into it; return their ids.

    Raises `ProviderError`.
    """

    async def put_all() -> Any:
        provider = extension().AMQPProvider(queue, url=url, **options)
        try:
            await provider.connect()
            return await provider.put(*(body.encode() for body in bodies))
        finally:
            await provider.close()

    return list(asyncio.run(put_all()))


def dead_letters(url: str, queue: str) -> list[tuple[str | None, str | None]]:
    """Return the source and the reason of the first dead letters of a queue, and return them to it."""

    async def look() -> list[Any]:
        provider = extension().AMQPProvider(queue, url=url, declare=False, dead_letter_queue="")
        provider.wait_time = _LOOK
        try:
            found: list[Any] = []
            while len(found) < _MOST_LETTERS and (more := await provider.fetch(_MOST_LETTERS)):
                found += more
            return found
        finally:
            await provider.close()

    deaths = (extension().letters.death_of(message.headers) for message in asyncio.run(look()))
    return [(death.source, death.reason) for death in deaths]


class Retries:
    """Counts messages that wait for their next delivery, which RabbitMQ does not tell.

    `options` are those of each queue. A message is delivered `ATTEMPTS` times at most, unless its
    queue has another `max_deliveries`.
    """

    def __init__(self, options: Mapping[str, Mapping[str, Any]]) -> None:
        self._most = {
            name: int(found.get("max_deliveries", ATTEMPTS)) for name, found in options.items()
        }
        self._waiting = {name: Counter[str]() for name in options}

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which failed messages are delivered again at once, but not for ever."""
        found = {}
        for name, most in self._most.items():
            found[route_variable(name, "redelivery_delay")] = "0"
            found[route_variable(name, "max_deliveries")] = str(most)
        return {name: value for name, value in found.items() if name not in os.environ}

    def record(self, delivery: Delivery) -> None:
        """Count a delivery; those of other queues count as nothing."""
        waiting = self._waiting.get(delivery.queue)
        if waiting is None:
            return
        if delivery.receive_count > 1 and waiting[delivery.message_id]:
            waiting[delivery.message_id] -= 1
        comes_again = delivery.outcome.startswith(("left", "to be retried"))
        if comes_again and delivery.receive_count < self._most[delivery.queue]:
            waiting[delivery.message_id] += 1

    def waiting(self, queue: str) -> int:
        """Return how many messages of a queue come again."""
        return self._waiting[queue].total()


def start_keeper(lifeline: int, port: int, folder: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start the process that runs a broker until the writers of `lifeline` are gone."""
    if server_script() is None:
        raise ConfigurationError(INSTALL)
    return subprocess.Popen(  # noqa: S603 - our own module
        [
            sys.executable,
            "-m",
            "loafer_kit.local.rabbitmq",
            str(port),
            *map(str, filter(None, [folder])),
        ],
        stdin=lifeline,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def wait_until_ready(keeper: "subprocess.Popen[bytes]") -> None:
    """Return when the broker takes connections; raise `ConfigurationError` with its last words."""
    last = b""
    for line in keeper.stdout or ():
        if _READY in line:
            return
        last = line
    raise ConfigurationError(f"RabbitMQ did not start: {last.decode(errors='replace').strip()}")


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def url_of(port: int) -> str:
    """Return the URL of a broker on this machine."""
    return f"amqp://guest:guest@127.0.0.1:{port}/"


def main(port: int, data: Path | None = None) -> None:
    """Run a broker, tell when it is ready, and stop it when standard input ends."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the lifeline decides
    with tempfile.TemporaryDirectory(prefix="loafer-rabbitmq-") as folder:
        environment = _environment(Path(folder), port, data)
        epmd_port = environment["ERL_EPMD_PORT"]
        epmd = subprocess.Popen(  # noqa: S603 - Erlang's
            [shutil.which("epmd") or "epmd", "-port", epmd_port, "-address", "127.0.0.1"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        broker = subprocess.Popen(  # noqa: S603 - the installed broker
            [str(server_script())],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            last = b""
            for last in broker.stdout or ():
                if _READY in last:
                    break
            sys.stdout.buffer.write(last)
            sys.stdout.buffer.flush()
            sys.stdin.buffer.read()
        finally:
            broker.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                broker.wait(_STOP)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(broker.pid, signal.SIGKILL)
            broker.wait()
            epmd.kill()
            epmd.wait()


def _environment(folder: Path, port: int, data: Path | None) -> dict[str, str]:
    """Return the environment of a broker that touches nothing outside `folder` but its ports."""
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    (folder / "plugins").write_text("[].\n")
    (folder / "environment").write_text("")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RABBITMQ_", "ERL_"))
    }
    return inherited | {
        "HOME": str(folder),  # Erlang's cookie
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(free_port()),
        "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the broker, instead of its parent
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_LOGS": str(folder / "log"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_MNESIA_BASE": str(data or folder / "data"),
        "RABBITMQ_NODENAME": f"loafer{port}@localhost",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        # Idle schedulers that spin would take the CPU from the service.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false "
            "+sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:]))
