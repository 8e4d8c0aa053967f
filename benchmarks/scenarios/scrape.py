"""What `/metrics` costs: the time of an answer while the service works at its limit, and its CPU."""

import socket
import time
from statistics import median
from urllib.request import urlopen

from benchmarks.measure import TIMEOUT, new_queue
from benchmarks.programs import BODY, RunError, environment_of, running
from benchmarks.servers import running_stub
from benchmarks.sides import MONITORED
from benchmarks.tables import markdown_table

#: So many that the system's clock ticks, a hundredth of a second each, do not matter.
IDLE_SCRAPES = 500
#: Between two scrapes under load: more than once a second, for more figures.
PAUSE_SECONDS = 0.1


def measure(messages: int) -> str:
    """Count the CPU of scrapes while the service idles: under load it is the same work."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with running_stub(0) as stub:
        queue = new_queue(stub)
        stub.send(queue, BODY)
        environment = environment_of(stub, queue) | {"LOAFER_HTTP": f":{port}"}
        with running(MONITORED, environment) as program:
            program.await_drained(stub, queue, TIMEOUT)
            before = program.usage().cpu_seconds
            idle = [_scrape(port) for _ in range(IDLE_SCRAPES)]
            cost = (program.usage().cpu_seconds - before) / IDLE_SCRAPES
            stub.fill(queue, messages)
            loaded = []
            while not stub.drained(queue, PAUSE_SECONDS):
                loaded.append(_scrape(port))
    if not loaded:
        raise RunError(f"{messages} messages are too few: no scrape fell into their handling")
    rows = [
        ("idle", f"{median(idle):.1f}", f"{max(idle):.1f}", f"{len(idle)}"),
        ("at its limit", f"{median(loaded):.1f}", f"{max(loaded):.1f}", f"{len(loaded)}"),
    ]
    head = ("the service is", "ms until `/metrics` has answered", "at most", "scrapes")
    return (
        f"{markdown_table(head, rows)}\n\nA scrape takes {cost * 1000:.2f} ms of CPU: one a second "
        f"costs {cost:.2%} of a core."
    )


def _scrape(port: int) -> float:
    """Return the milliseconds until the page was read."""
    began = time.perf_counter()
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        page.read()
    return (time.perf_counter() - began) * 1000
