"""`make demo` writes a service, tests it, runs it on the embedded SQS server and sends it messages.

Everything happens in a temporary folder, which is removed at the end. The exit code is 0 if every
message ended as expected.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loafer_kit.local import LocalQueues

QUEUE, DEAD_LETTERS = "loafer-test", "loafer-test-dead"

HANDLERS = '''\
"""The handlers of the messages: one for each queue."""

from collections.abc import Mapping
from typing import Any


async def handle_loafer_test(message: Any, metadata: Mapping[str, Any]) -> bool:
    """Handle one message of the queue loafer-test."""
    print(f"handler: delivering order {message['order']} to {message['city']}")
    return True
'''

#: The messages and how each of them must end.
MESSAGES = (
    ('{"order": 1, "city": "Oslo"}', "deleted"),
    ('{"order": 2, "city": "Porto"}', "deleted"),
    ('{"order": 3}', "dead letter"),
    ("not JSON", "dead letter"),
)

PATIENCE = 40.0  # seconds until the queue must be empty


class DeadLetter(NamedTuple):
    """A message in the dead-letter queue; SQS itself gives no reason when it moves one."""

    body: str
    reason: str | None


class Log:
    """The service's output: printed while it arrives, and kept."""

    def __init__(self, service: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._service = service
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def url(self) -> str:
        """Wait until the service has started, and return the URL of its server."""
        self._started.wait(PATIENCE)
        found = re.search(r"http://\S+", "".join(self.lines))
        if found is None:
            raise SystemExit("The service did not start.")
        return found[0]

    def outcomes(self, message_id: str) -> list[str]:
        """Return the logged outcome of each delivery of a message."""
        pattern = re.compile(rf"message\.handled .*message_id={message_id} .*outcome='([^']*)'")
        return pattern.findall("".join(self.lines))

    def finish(self) -> None:
        """Wait for the end of the output."""
        self._reader.join()

    def _read(self) -> None:
        in_traceback = False
        for line in self._service.stdout or ():
            self.lines.append(line)
            # Print only the last line of a traceback.
            in_traceback = line.startswith("Traceback") or (in_traceback and line.startswith(" "))
            if not in_traceback:
                print(f"    {line}", end="", flush=True)
            if "started python -m" in line:
                self._started.set()
        self._started.set()


def main() -> None:
    """Run the demonstration."""
    with tempfile.TemporaryDirectory(prefix="loafer-kit-demo-") as name:
        folder = Path(name)
        # `dev` writes the record with which `send` finds it into the temporary folder.
        os.environ |= {"TMPDIR": name, "PYTHONDONTWRITEBYTECODE": "1"}
        # The service's tests do not need the pytest plug-ins of this checkout.
        os.environ["PYTEST_ADDOPTS"] = "-p no:asyncio -p no:cacheprovider"
        say("One command writes a service")
        settings = f"dead_letter_queue={DEAD_LETTERS},max_receive_count=2,visibility_timeout=1"
        loafer_kit("new", "service", "foobar", "--queue", f"{QUEUE},{settings}", inside=folder)
        say("Its tests pass")
        run([sys.executable, "-m", "pytest", "-q"], inside=folder / "foobar")
        say("The handler gets its code")
        (folder / "foobar" / "foobar" / "handlers.py").write_text(HANDLERS)
        print(textwrap.indent(HANDLERS, "    "))
        say("The service runs with a local SQS server, and warns of its short visibility timeout")
        with development(folder / "foobar") as log:
            report(*send_and_wait(folder, log))


def send_and_wait(folder: Path, log: Log) -> tuple[Log, list[str], list[DeadLetter]]:
    """Send the messages, wait until the queue is empty, and return their ids and the dead letters."""
    queues = LocalQueues(log.url())
    say("Another terminal sends four messages: two good ones, one that fails, one that is not JSON")
    ids = []
    for body, _ in MESSAGES:
        sent = loafer_kit("send", QUEUE, body, inside=folder)
        ids += re.findall(r"^sent (\S+)", sent, re.MULTILINE)
    deadline = time.monotonic() + PATIENCE
    while queues.counts(QUEUE).total:
        if time.monotonic() > deadline:
            raise SystemExit(f"After {PATIENCE:g} s the queue still holds: {queues.counts(QUEUE)}.")
        time.sleep(0.2)
    dead_letters = [
        DeadLetter(
            message["Body"],
            message.get("MessageAttributes", {}).get("DeadLetterReason", {}).get("StringValue"),
        )
        for message in queues.receive(DEAD_LETTERS)
    ]
    queues.close()
    return log, ids, dead_letters


def report(log: Log, ids: Sequence[str], dead_letters: Sequence[DeadLetter]) -> None:
    """Print how each message ended; exit with code 1 if one did not end as expected."""
    say("The end of each message")
    for message_id, (body, expected) in zip(ids, MESSAGES, strict=True):
        outcomes = ", then ".join(log.outcomes(message_id))
        found = [letter for letter in dead_letters if letter.body == body]
        end = "deleted" if not found else f"dead letter in {DEAD_LETTERS}"
        print(f"    {body:30}  handler: {outcomes:26}  ->  {end}")
        for letter in found:
            reason = letter.reason or "received twice without success: moved by SQS"
            print(f"    {'':30}  reason: {reason}")
        if not end.startswith(expected):
            raise SystemExit(f"{body} should have ended as {expected}.")


@contextlib.contextmanager
def development(project: Path) -> Iterator[Log]:
    """Run `loafer-kit dev` in a project, and end it as Ctrl-C does."""
    print("    $ loafer-kit dev")
    with subprocess.Popen(
        [sys.executable, "-m", "loafer_kit", "dev"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as service:
        log = Log(service)
        try:
            yield log
            say("Ctrl-C ends both, after the messages in hand")
        finally:
            service.send_signal(signal.SIGINT)
            log.finish()
    if service.returncode:
        raise SystemExit(f"`loafer-kit dev` ended with exit code {service.returncode}.")


def loafer_kit(*arguments: str, inside: Path) -> str:
    """Run a command of loafer-kit, print it and its output, and return the output."""
    return run([sys.executable, "-m", "loafer_kit", *arguments], inside=inside)


def run(command: Sequence[str], *, inside: Path) -> str:
    """Run a command, print it and its output, and return the output."""
    shown = " ".join(repr(word) if " " in word else word for word in command[2:])
    print(f"    $ {shown.replace('loafer_kit', 'loafer-kit')}", flush=True)
    result = subprocess.run(
        command,
        cwd=inside,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(textwrap.indent(result.stdout, "    "), end="", flush=True)
    if result.returncode:
        raise SystemExit(f"The command ended with exit code {result.returncode}.")
    return result.stdout


def say(headline: str) -> None:
    """Print the headline of the next step."""
    print(f"\n{headline}.\n", flush=True)


if __name__ == "__main__":
    main()
