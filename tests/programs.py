"""Python programs that start at once: each is a copy of a process that has imported loafer_kit.

Use them where the behaviour of a process counts: its streams, its signals, its end. What a program
imports, and when, is tested with an interpreter of its own. The Python programs that a copy starts
are copies of it.
"""

import asyncio
import contextlib
import contextvars
import fcntl
import functools
import importlib
import logging
import multiprocessing
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import types
import warnings
from multiprocessing import reduction
from pathlib import Path
from unittest import mock

_TESTS = str(Path(__file__).parent)
_COPIES = multiprocessing.get_context("forkserver")
_COPIES.set_forkserver_preload(["preloaded"])


class Program:
    """A process that runs a module (`-m NAME`) or code (`-c TEXT`), as `subprocess.Popen` shows it.

    It leads a session; its controlling terminal is `stdin` if that is a terminal.
    """

    def __init__(self, *arguments, stdin=None, stdout=None, stderr=None, cwd=None, env=None):
        self.stdout = self.stderr = None
        nothing = os.open(os.devnull, os.O_RDWR)
        given = [nothing]  # the process has its own then
        streams = [nothing if stdin is None else stdin]
        for name, target in (("stdout", stdout), ("stderr", stderr)):
            if target == subprocess.PIPE:
                reader, writer = os.pipe()
                given.append(writer)
                setattr(self, name, open(reader))  # noqa: SIM115, PTH123
                streams.append(writer)
            else:
                others = {subprocess.STDOUT: streams[-1], subprocess.DEVNULL: nothing}
                streams.append(others.get(target, target))
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
        with mock.patch.dict(os.environ, PYTHONPATH=_TESTS):  # `preloaded` is there
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
            raise subprocess.TimeoutExpired("python", timeout)
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=None):
        """Return the rest of stdout and of stderr; each fits into a pipe."""
        written = []
        for pipe in (self.stdout, self.stderr):
            written.append(pipe and pipe.read())
            if pipe:
                pipe.close()
        self.wait(timeout)
        return tuple(written)

    @property
    def returncode(self):
        return self._process.exitcode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pipe in filter(None, (self.stdout, self.stderr)):
            pipe.close()
        self.wait()


def run_command(line, *, cwd=None, env=None):
    """Run the words of a command line, Python's tools as copies."""
    program, *arguments = shlex.split(line)
    if program == "python":
        return run(*arguments, cwd=cwd, env=env)
    if program in ("black", "loafer-kit", "mypy"):
        return run("-m", program.replace("-", "_"), *arguments, cwd=cwd, env=env)
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [shutil.which(program, path=scripts), *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def run(*arguments, stdin="", cwd=None, env=None):
    """Run a program to its end, as `subprocess.run` does; `stdin` is what it reads."""
    with contextlib.ExitStack() as files:
        streams = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        streams[0].write(stdin)
        streams[0].seek(0)
        program = Program(
            *arguments, stdin=streams[0], stdout=streams[1], stderr=streams[2], cwd=cwd, env=env
        )
        code = program.wait(120)
        output, errors = (stream.seek(0) or stream.read() for stream in streams[1:])
    return subprocess.CompletedProcess(arguments, code, output, errors)


class _Stream:
    """A descriptor, or what has one; the copy gets its own descriptor of the same file."""

    def __init__(self, file):
        self._descriptor = file if isinstance(file, int) else file.fileno()

    def __reduce__(self):
        return _detach, (reduction.DupFd(self._descriptor),)


def _detach(descriptor):
    return descriptor.detach()


def _run(arguments, streams, folder, environment):
    multiprocessing.current_process()._config["daemon"] = False  # it may have workers
    os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(folder)
    _become(arguments, environment)


def _become(arguments, environment):
    """Run a program in this process, as an interpreter does that starts in this folder."""
    subprocess.Popen = Popen
    os.environ.clear()
    os.environ.update(environment)
    folder = str(Path.cwd())
    tempfile.tempdir = None
    unbuffered = "PYTHONUNBUFFERED" in environment
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        buffering = 1 if unbuffered or os.isatty(number) or name == "stderr" else -1
        stream = open(  # noqa: SIM115, PTH123 - it lives as long as the process
            number,
            "w" if number else "r",
            buffering=buffering,
            closefd=False,
            errors="backslashreplace" if name == "stderr" else None,
        )
        setattr(sys, name, stream)
    added = environment.get("PYTHONPATH", "").split(os.pathsep)
    known = [place for place in sys.path if not place.startswith(_TESTS)]
    sys.path[:] = [folder, *filter(None, added), *known]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which `subprocess` has set to end the process
        signal.signal(number, signal.SIG_IGN)
    option, program, *rest = arguments
    sys.orig_argv = [sys.executable, *arguments]
    sys.argv = [program if option == "-m" else option, *rest]
    if option == "-m":
        sys.modules.pop(f"{program}.__main__", None)  # pytest's loader of it has no code to run
        if not hasattr(sys.modules.get(program), "__path__"):
            sys.modules.pop(program, None)
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(program, "<string>", "exec"), main.__dict__)  # noqa: S102 - the test's own


class Popen(subprocess.Popen):
    """Starts a Python program as a copy of this process, and any other as usual."""

    def __init__(self, arguments, *, env=None, pass_fds=(), **options):
        program, *words = [arguments] if isinstance(arguments, str | os.PathLike) else arguments
        if program == sys.executable and words[:1] in (["-m"], ["-c"]):
            options["preexec_fn"] = functools.partial(
                _split_off,
                [str(word) for word in words],
                dict(os.environ if env is None else env),
                pass_fds,
                options.get("preexec_fn"),
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a copy of a process with threads
            super().__init__(arguments, env=env, pass_fds=pass_fds, **options)


def _split_off(arguments, environment, kept, prepare):
    """Run a program in this new process, which has its own streams, and end with it."""
    if prepare is not None:
        prepare()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in [int(place.name) for place in Path("/dev/fd").iterdir()]:
        if descriptor not in (0, 1, 2, nothing, *kept):
            os.dup2(nothing, descriptor)  # so that nobody closes one of the program's own
    _forget(str(Path.cwd()))
    copy = _COPIES.Process(target=_become, args=(arguments, environment))
    os._exit(contextvars.Context().run(copy._bootstrap))


def _forget(folder):
    """Forget what the copied process has set up, and its modules of this folder."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    asyncio.set_event_loop_policy(None)
    asyncio._set_running_loop(None)
    loggers = (logging.getLogger(name) for name in logging.root.manager.loggerDict)
    for logger in (logging.root, *loggers):
        logger.handlers.clear()
        logger.filters.clear()
        logger.setLevel(logging.WARNING if logger is logging.root else logging.NOTSET)
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if not type(finder).__module__.startswith("_pytest.")
    ]
    is_project = not _TESTS.startswith(folder)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(folder + os.sep) and is_project:
            del sys.modules[name]
    importlib.invalidate_caches()
