"""`loafer-kit run`: imports a service and runs it, restarting it on changes if asked to."""

import importlib.util
import inspect
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from loafer_kit import logs
from loafer_kit.applications import Application
from loafer_kit.cli.terminal.output import say
from loafer_kit.exceptions import LoaferKitError
from loafer_kit.local import reloading
from loafer_kit.managers import LoaferManager
from loafer_kit.services import Service, standard_logger


def run(
    application_path: Annotated[
        str, typer.Argument(metavar="PATH[:APP]", help="The service's module, and its name in it.")
    ],
    *,
    reloader: Annotated[
        bool | None,
        typer.Option(
            "--reloader/--no-reloader",
            "-r",
            help="Restart the service when its files change.",
            show_default="on with --debug",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("-w", "--workers", min=1, help="How many messages to handle concurrently."),
    ] = None,
    processes: Annotated[
        str | None,
        typer.Option(
            "-p",
            "--processes",
            metavar="NUMBER|auto",
            help="Run in so many processes; auto: one for each core.",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("-d", "--debug", help="Use asyncio's debug mode and the reloader.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, show_default=False, help="Log more; twice: everything."
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Log errors only.")] = False,
) -> None:
    """Run an Application or a LoaferManager."""
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other")
    reloads = debug if reloader is None else reloader
    if processes is not None:
        if reloads:
            raise typer.BadParameter("--processes and the reloader exclude each other")
        os.environ["LOAFER_PROCESSES"] = processes
    if reloads:
        options = ["--no-reloader", *_options(workers, debug, verbose, quiet)]
        sys.exit(_run_reloading(application_path, options))
    service = load_service(application_path)
    _show_logs(service, verbose, quiet)
    if isinstance(service, Application):
        service.run_forever(num_workers=workers or 1, debug=debug)
        if service.consumer_error is not None:
            raise service.consumer_error
    elif isinstance(service, LoaferManager):
        if workers is not None:
            service.dispatcher.max_jobs = workers
        service.run(debug=debug)


def _options(workers: int | None, debug: bool, verbose: int, quiet: bool) -> list[str]:
    return [
        *([f"--workers={workers}"] if workers else []),
        *(["--debug"] if debug else []),
        *["--verbose"] * verbose,
        *(["--quiet"] if quiet else []),
    ]


def _show_logs(service: Service, verbose: int, quiet: bool) -> None:
    level = logging.ERROR if quiet else max(logging.WARNING - 10 * verbose, logging.DEBUG)
    logs.configure(level)
    if quiet or verbose:  # asked for here, so it counts more than the service's own configuration
        standard_logger(service).setLevel(level)
        logging.getLogger("loafer_kit").setLevel(level)


def _run_reloading(application_path: str, options: Sequence[str]) -> int:
    """Run the service in a child process until a signal ends both; return its exit code.

    A change drains the child (SIGTERM) and starts the next one. A child that ends by itself, of a
    syntax error for instance, starts again after the next change.
    """
    command = [sys.executable, "-m", "loafer_kit", "run", application_path, *options]
    child: subprocess.Popen[bytes] | None = None
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        stopping.set()
        # Ctrl-C reaches the child by itself: a second SIGINT would cut its drain short.
        if child is not None and (number != signal.SIGINT or not _is_in_foreground()):
            child.send_signal(number)

    changes = _watch(_root_of(application_path), stopping)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # The first batch comes when the watch has begun: the child's first change is not missed.
    for changed in changes:
        if changed and child is not None:
            _say(f"{', '.join(changed)} changed: restarting")
            child.terminate()
            child.wait()
        if stopping.is_set():
            break
        if changed or child is None:
            child = subprocess.Popen(command)  # noqa: S603 - our own command, without a shell
            if stopping.is_set():  # the signal came before there was a child to pass it to
                child.terminate()
        elif child.returncode is None and child.poll() is not None:
            _say(f"the service has ended with exit code {_exit_code(child)}: waiting for a change")
    return 0 if child is None else _exit_code(child)


def _watch(root: Path, stopping: threading.Event) -> Iterator[list[str]]:
    """Yield the source and configuration files that change, and nothing every now and then.

    `watchfiles.run_process` does less: it kills a child that drains for more than five seconds at
    the end, sends a second SIGINT after Ctrl-C, and does not return the child's exit code.
    """
    watch = reloading.load_watchfiles().watch
    batches = watch(root, stop_event=stopping, **reloading.watch_options())
    return (sorted({os.path.relpath(path) for _, path in batch}) for batch in batches)


def _root_of(application_path: str) -> Path:
    """Return the folder to watch: the current one, or the module's own if it is elsewhere."""
    _put_current_directory_first()
    top_level = application_path.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top_level) if top_level.isidentifier() else None
    places = spec and ([spec.origin] if spec.origin else spec.submodule_search_locations)
    if not places:
        raise ServiceNotFound(f"There is no module {top_level!r} in {Path.cwd()} to run")
    place = Path(next(iter(places)))
    directory = place if place.is_dir() else place.parent
    return Path.cwd() if directory.is_relative_to(Path.cwd()) else directory


def _is_in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _exit_code(child: subprocess.Popen[bytes]) -> int:
    code = child.wait()
    return 128 - code if code < 0 else code


def _say(text: str) -> None:
    say(f"reloader: {text}", err=True)


# The import of a service.


class ServiceNotFound(LoaferKitError):  # noqa: N818 - told to a user, not caught by name
    """The path on the command line does not lead to a service."""


def load_service(path: str) -> Service:
    """Import the service at `PATH[:APP]`; PATH may be a module of the current directory.

    APP is the name of an Application or LoaferManager, or of a callable that returns one; without
    it, the module must hold exactly one. Raises `ServiceNotFound` with one line that says why.
    """
    module_path, colon, name = path.partition(":")
    module = _import(module_path)
    return _named(module, name) if colon else _only(module)


def _put_current_directory_first() -> None:
    """Make the modules of the current directory importable, before any other."""
    directory = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)


def _enter_project(path: str) -> None:
    """Find the package in a project of the same name, from the folder above the project."""
    name = path.partition(".")[0]
    project = Path.cwd() / name
    is_package = (project / "__init__.py").exists()
    if (project / name / "__init__.py").exists() and not is_package:
        sys.path.insert(0, str(project))


def _import(path: str) -> ModuleType:
    _put_current_directory_first()
    if path.endswith(".py"):
        module = path.removesuffix(".py").strip("./").replace("/", ".")
        raise ServiceNotFound(f"{path!r} is a file: name the module, {module!r}")
    if not all(part.isidentifier() for part in path.split(".")):
        raise ServiceNotFound(f"{path!r} cannot name a module: write package.module[:name]")
    _enter_project(path)
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{path}.".startswith(f"{error.name}."):
            raise ServiceNotFound(
                f"There is no module {error.name!r} in {os.getcwd()} or among the installed "  # noqa: PTH109
                "packages"
            ) from error
        raise _failed(f"Importing {path!r}", error) from error
    except (Exception, SystemExit) as error:
        raise _failed(f"Importing {path!r}", error) from error


def _only(module: ModuleType) -> Service:
    names: dict[int, str] = {}
    for name, value in vars(module).items():
        if isinstance(value, Service):
            names.setdefault(id(value), name)
    if not names:
        raise ServiceNotFound(
            f"Module {module.__name__!r} holds neither an Application nor a LoaferManager"
        )
    if len(names) > 1:
        choices = ", ".join(f"{module.__name__}:{name}" for name in names.values())
        raise ServiceNotFound(
            f"Module {module.__name__!r} holds more than one service; choose one: {choices}"
        )
    return _named(module, *names.values())


def _named(module: ModuleType, name: str) -> Service:
    if not hasattr(module, name):
        raise ServiceNotFound(f"Module {module.__name__!r} has no {name!r}")
    found = getattr(module, name)
    if not isinstance(found, Service) and callable(found):
        found = _made_by(found, f"{module.__name__}:{name}")
    if not isinstance(found, Service):
        kind = "None" if found is None else f"of type {type(found).__name__}"
        raise ServiceNotFound(
            f"{module.__name__}:{name} is neither an Application nor a LoaferManager, but {kind}"
        )
    return found


def _made_by(factory: Callable[..., Any], path: str) -> Any:
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ServiceNotFound(f"{path} cannot be called without arguments: {error}") from error
    try:
        return factory()
    except Exception as error:
        raise _failed(f"Calling {path}", error) from error


def _failed(what: str, error: BaseException) -> ServiceNotFound:
    text = " ".join(str(error).split())
    return ServiceNotFound(f"{what} failed{_place_of(error)}: {type(error).__name__}: {text}")


def _place_of(error: BaseException) -> str:
    if isinstance(error, SyntaxError):  # its text names the place
        return ""
    trace = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in trace if "importlib" not in frame.filename]
    if not frames or frames[-1].filename == __file__:
        return ""
    of_user = [frame for frame in frames if not _is_library(frame.filename)]
    frame = (of_user or frames)[-1]
    return f" at {os.path.relpath(frame.filename)}, line {frame.lineno}"


def _is_library(file: str) -> bool:
    """Return whether a file is not the user's: installed, or a part of loafer-kit."""
    installed = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    folders = [Path(__file__).parents[1], *map(Path, installed)]
    return any(Path(file).is_relative_to(folder) for folder in folders)
