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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.local.servers import is_local

INSTALL = (
    "RabbitMQ is not installed. Install it (on Debian: apt-get install rabbitmq-server), or name a "
    "broker: LOAFER_AMQP_URL=amqp://user:password@host/"
)

#: Seconds that the broker gets to stop.
_STOP = 20.0

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
        end_keeper(keeper)


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


def put(url: str, queue: str, options: Mapping[str, Any], bodies: Iterable[str]) -> None:
    """Declare a queue as its route does, and put messages into it; raise `ProviderError`."""
    # Only a service of RabbitMQ has the extra.
    from loafer_kit.ext.amqp.providers import AMQPProvider

    async def put_all() -> None:
        provider = AMQPProvider(queue, url=url, **options)
        try:
            await provider.connect()
            await provider.put(*(body.encode() for body in bodies))
        finally:
            await provider.close()

    asyncio.run(put_all())


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


def end_keeper(keeper: "subprocess.Popen[bytes]") -> None:
    """End a broker whose lifeline is a pipe of this process."""
    keeper.communicate()


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
