"""Run the stub until it is interrupted: `python -m benchmarks.stub --port 0 --latency-ms 10`."""

import argparse
import asyncio
import signal
from collections.abc import Callable

from benchmarks.stub.http import Connection
from benchmarks.stub.service import Service


async def serve(port: int, latency: float) -> None:
    """Serve on the loopback interface, and print the port once connections are accepted."""
    service = Service()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service, latency), "127.0.0.1", port)
    port = server.sockets[0].getsockname()[1]
    service.base_url = f"http://127.0.0.1:{port}"
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    print(port, flush=True)
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency-ms", type=float, default=0, help="added to every SQS answer")
    arguments = parser.parse_args()
    runner = asyncio.Runner(loop_factory=_loop_factory())
    with runner:
        runner.run(serve(arguments.port, arguments.latency_ms / 1000))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


main()
