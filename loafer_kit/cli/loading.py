"""Imports the service that the command line names as `PATH[:APP]`."""

import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.services import Service


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


def put_current_directory_first() -> None:
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
    put_current_directory_first()
    if path.endswith(".py"):
        raise ServiceNotFound(f"{path!r} is a file: name the module, {_module_name(path)!r}")
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
        raise ServiceNotFound(
            f"{module.__name__}:{name} is neither an Application nor a LoaferManager, but "
            f"{_kind_of(found)}"
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


def _kind_of(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _module_name(path: str) -> str:
    return path.removesuffix(".py").strip("./").replace("/", ".")
