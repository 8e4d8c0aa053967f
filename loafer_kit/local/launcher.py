"""The process that `loafer-kit dev` starts: it runs a service's `__main__`, with logs.

Run as `python -m loafer_kit.local.launcher PACKAGE FD LABEL` in the project's folder. FD is
a socket that the parent keeps open: it breaks when the parent ends, even by SIGKILL, and the service
ends too. Each delivery of a message is reported there, as one line of JSON.
"""

import contextlib
import importlib.util
import json
import logging
import os
import runpy
import signal
import sys
import threading

from loafer_kit import logs

#: The logger of the event `message.handled`.
_HANDLED = "loafer_kit.engine.deliveries"


def launch(package: str, lifeline: int, label: str) -> None:
    """Run `package` as `python -m` does, until it ends or `lifeline` breaks."""
    _configure_logs(label, lifeline)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    if importlib.util.find_spec(package) is None:
        sys.exit(f"error: there is no package {package!r} in {os.getcwd()}")  # noqa: PTH109
    if importlib.util.find_spec(f"{package}.__main__") is None:
        sys.exit(f"error: {package!r} has no __main__.py, so `python -m {package}` cannot run it")
    sys.argv = [package]
    runpy.run_module(package, run_name="__main__", alter_sys=True)


def _configure_logs(label: str, lifeline: int) -> None:
    logs.configure()
    if label:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(_Labelled(label, handler.formatter))
    for name in ("aiobotocore", "botocore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    handled = logging.getLogger(_HANDLED)
    handled.setLevel(logging.DEBUG)  # the filter sees every record and keeps the parent's level
    handled.addFilter(_Reports(lifeline))


class _Labelled(logging.Formatter):
    """Names the service in each line: in front of text, and as a field of JSON."""

    def __init__(self, label: str, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._label = label
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(self._formatter, logs.JSONFormatter):
            record.__dict__.setdefault("service", self._label)
            return self._formatter.format(record)
        return f"{self._label} {self._formatter.format(record)}"


class _Reports(logging.Filter):
    """Reports each `message.handled` to the parent, also if the service does not log it."""

    def __init__(self, lifeline: int) -> None:
        super().__init__()
        self._lifeline = lifeline

    def filter(self, record: logging.LogRecord) -> bool:
        facts = vars(record)
        if facts.get("event") == "message.handled" and "message_id" in facts:
            names = ("queue", "message_id", "receive_count", "outcome")
            line = json.dumps([facts.get(name) for name in names], default=str)
            with contextlib.suppress(OSError):  # the parent has ended, and this process will
                os.write(self._lifeline, f"{line}\n".encode())
        return logging.getLogger(_HANDLED.rpartition(".")[0]).isEnabledFor(record.levelno)


def _end_with(lifeline: int) -> None:
    with contextlib.suppress(ConnectionResetError):  # the parent left reports unread
        os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    launch(sys.argv[1], int(sys.argv[2]), sys.argv[3])
