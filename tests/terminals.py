"""A person at a real terminal."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios

from programs import Program

COMMAND = [sys.executable, "-m", "loafer_kit"]


class Person:
    """Types on a terminal and reads its output.

    `python` is the program as arguments of Python; `program` is one that is not Python.
    """

    def __init__(self, *arguments, python=("-m", "loafer_kit"), program=None, **options):
        self.shown = ""
        self.terminal, other_end = pty.openpty()
        options = {"stdin": other_end, "stdout": other_end, "stderr": other_end} | options
        if program is None:
            self.process = Program(*python, *arguments, **options)
        else:
            self.process = subprocess.Popen(
                [*program, *arguments],
                **options,
                start_new_session=True,
                preexec_fn=_own_the_terminal,  # noqa: PLW1509 - it only makes two system calls
            )
        os.close(other_end)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)

    def answer(self, question, text):
        self.wait_for(question)
        self.type(text)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait_for(self, text):
        while text not in self.shown:
            assert self._read(), self.shown
        self.shown = self.shown.partition(text)[2]

    def interrupt(self):
        # Python misses a signal that arrives just before it waits for a key, so press Ctrl-C until
        # the process ends.
        while self.process.poll() is None:
            self.type("\x03")
            select.select([], [], [], 0.5)

    def leave(self):
        while self._read():
            pass
        return self.process.wait(30)

    def _read(self):
        assert select.select([self.terminal], [], [], 30)[0], self.shown
        try:
            data = os.read(self.terminal, 10_000)
        except OSError:  # Linux's way to say that the other end is closed
            return False
        self.shown += data.decode()
        return bool(data)


def _own_the_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Children of a background process ignore Ctrl-C otherwise.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
