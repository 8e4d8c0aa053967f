"""Programs that start at once: each is a copy of a process that has imported loafer_kit.

Use them where the behaviour of a process counts: its streams, its signals, its end. What a program
imports, and when, is tested with an interpreter of its own.
"""

import contextlib
import fcntl
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import termios
from multiprocessing import reduction
from pathlib import Path

_TESTS = str(Path(__file__).parent)
_COPIES = multiprocessing.get_context("forkserver")
_COPIES.set_forkserver_preload(
    [
        "black",
        "cookiecutter.main",
        "loafer_kit.cli.add",
        "loafer_kit.cli.dev",
        "loafer_kit.cli.dlq",
        "loafer_kit.cli.new",
        "loafer_kit.cli.send",
        "loafer_kit.cli.update",
        "loafer_kit.ext.aws.routes",
        "loafer_kit.local.development",
        "loafer_kit.managers",
        "loafer_kit.scaffold.rendering.builtin",
        "loafer_kit.scaffold.rendering.formatting",
        "moto.moto_server.werkzeug_app",
        "moto.sns.responses",
        "moto.sqs.responses",
        "watchfiles",
    ]
)


class Program:
    """A process that runs `python -m loafer_kit`, with the interface of `subprocess.Popen`.

    It leads a session; its controlling terminal is `stdin` if that is a terminal.
    """

    def __init__(
        self, *arguments, stdin=None, stdout=None, stderr=None, cwd=None, env=None, text=True
    ):
        self.stdout = self.stderr = None
        given = []  # closed here once the process has them
        if stdin is None:
            stdin = os.open(os.devnull, os.O_RDONLY)
            given.append(stdin)
        streams = [stdin]
        for name, target in (("stdout", stdout), ("stderr", stderr)):
            if target == subprocess.PIPE:
                reader, target = os.pipe()
                given.append(target)
                setattr(self, name, open(reader, "r" if text else "rb"))  # noqa: SIM115, PTH123
            streams.append(streams[1] if target == subprocess.STDOUT else target)
        self._process = _COPIES.Process(
            target=_run,
            args=(
                [str(argument) for argument in arguments],
                [_Stream(number if fd is None else fd) for number, fd in enumerate(streams)],
                os.fspath(cwd or Path.cwd()),
                dict(os.environ if env is None else env),
            ),
            daemon=True,
        )
        self._process.start()
        for descriptor in given:
            os.close(descriptor)

    @property
    def pid(self):
        return self._process.pid

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("loafer-kit", timeout)
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()


class _Stream:
    """A descriptor, or what has one; the copy gets its own descriptor of the same file."""

    def __init__(self, file):
        self._descriptor = file if isinstance(file, int) else file.fileno()

    def __reduce__(self):
        return _detach, (reduction.DupFd(self._descriptor),)


def _detach(descriptor):
    return descriptor.detach()


def _run(arguments, streams, folder, environment):
    os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        buffering = 1 if os.isatty(number) or name == "stderr" else -1
        stream = open(  # noqa: SIM115, PTH123 - it lives as long as the process
            number,
            "w" if number else "r",
            buffering=buffering,
            closefd=False,
            errors="backslashreplace" if name == "stderr" else None,
        )
        setattr(sys, name, stream)
    sys.path[:] = [folder, *(place for place in sys.path if not place.startswith(_TESTS))]
    sys.argv = ["loafer_kit", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_module("loafer_kit", run_name="__main__", alter_sys=True)
