"""Templates that are not loafer-kit's: cookiecutter fetches and renders them.

Such a template is code: its hooks, its extensions and its Jinja run with the user's rights. Nothing of
it runs before `load` has the user's consent. All work happens in a temporary folder, which goes with
the template.
"""

import copy
import logging
import os
import stat
import subprocess
import sys
import tempfile
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from cookiecutter import exceptions
from cookiecutter.find import find_template
from cookiecutter.generate import generate_context, generate_files
from cookiecutter.hooks import find_hook, run_pre_prompt_hook
from cookiecutter.utils import create_env_with_context
from jinja2 import TemplateSyntaxError

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import git
from loafer_kit.scaffold.project.plans import Plan, read_file, refuse_reserved
from loafer_kit.scaffold.project.writing import termination_as_exception
from loafer_kit.scaffold.rendering import fetching, templates
from loafer_kit.scaffold.rendering.answers import Values, public, resolve
from loafer_kit.scaffold.rendering.builtin import Rendered, finish
from loafer_kit.scaffold.rendering.contexts import Context
from loafer_kit.scaffold.rendering.fetching import CACHE, Fetched
from loafer_kit.scaffold.rendering.templates import VARIABLES, File, Origin

_HOOKS = ("pre_prompt", "pre_gen_project", "post_gen_project")
# What cookiecutter itself reads, besides `cookiecutter.json` and the project's folder.
_USED = ("hooks", "templates")
# No other protocol is used, and nobody is asked for a password, which git's helpers may know.
_GIT = {"GIT_ALLOW_PROTOCOL": "file:https:ssh", "GIT_TERMINAL_PROMPT": "0"}


@dataclass(frozen=True, slots=True)
class Code:
    """Where a template comes from, and what it would run."""

    origin: Origin
    hooks: tuple[str, ...]
    extensions: tuple[str, ...]


#: Shows a person what would run, and returns whether it may.
Consent = Callable[[Code], bool]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class CustomTemplate:
    """A template in a temporary folder that its user has consented to run."""

    fetched: Fetched
    variables: Values
    digest: str
    folder: Path
    workspace: Path

    @property
    def origin(self) -> Origin:
        """Where it comes from, with the commit."""
        return self.fetched.origin

    @property
    def purpose(self) -> str | None:
        """The command it is for; None for a plain cookiecutter template."""
        return templates.purpose(self.variables)

    def render(self, context: Context, answers: Values, *, ask: bool = False) -> Rendered:
        """The project that it makes of a context and the answers, as cookiecutter renders it.

        With `ask` a person is asked for the variables that have no answer; what a spec, a person or a
        lock says is never rendered. ConfigurationError with the place of what is wrong in the template.
        """
        workspace, folder = self.workspace, self.folder
        with (
            _failures_in_one_line(self.origin, workspace),
            _hosted(workspace, folder),
            termination_as_exception(),
        ):
            declared = copy.deepcopy(dict(self.variables))
            known = _known(self, context)
            values = resolve(declared, known, answers, ask=ask)
            kept = {name: values[name] for name in public(declared) if name not in known}
            output = tempfile.mkdtemp()
            given = copy.deepcopy(values) | {
                "_template": self.fetched.address,
                "_output_dir": output,
                "_repo_dir": str(folder),
                "_checkout": self.origin.checkout,
            }
            whole = {
                "cookiecutter": given,
                "_cookiecutter": {name: declared[name] for name in public(declared)},
            }
            _refuse_names(folder, whole)
            with _stdout_as_stderr():
                project = Path(generate_files(str(folder), whole, output))
            notes: list[str] = []
            files = _files(project, notes)
            plan = _plan(files, self.purpose)
        return Rendered(project.name, plan, kept, (*self.fetched.notes, *notes))


def load(
    origin: Origin,
    base: Path,
    consent: Consent,
    waiting: AbstractContextManager[None] | None = None,
) -> CustomTemplate:
    """Fetch a template, and get the consent to run it; a relative path starts at `base`.

    `waiting` is entered while it is fetched. ConfigurationError where it cannot be fetched, is not a
    template, or may not run.
    """
    address = fetching.address(origin, base)
    place = tempfile.TemporaryDirectory(prefix="loafer-kit-")
    workspace = Path(place.name).resolve()
    try:
        with _failures_in_one_line(origin, workspace), termination_as_exception():
            with waiting or nullcontext(), _hosted(workspace):
                fetched = fetching.fetch(origin, address, workspace / "fetched")
            _get_consent(fetched, consent)
            digest = _digest(fetched.folder)
            with _hosted(workspace), _stdout_as_stderr():
                folder = Path(run_pre_prompt_hook(str(fetched.folder)))
            template = CustomTemplate(fetched, _declared(folder), digest, folder, workspace)
    except BaseException:
        place.cleanup()
        raise
    weakref.finalize(template, place.cleanup)
    return template


def _get_consent(fetched: Fetched, consent: Consent) -> None:
    """Show what a template would run; ConfigurationError where it may not, or is not a template."""
    extensions = _declared(fetched.folder).get("_extensions") or []
    folder = fetched.folder / "hooks"
    hooks = [hook for stem in _HOOKS for hook in sorted(find_hook(stem, str(folder)) or ())]
    paths = (Path(hook).relative_to(fetched.folder).as_posix() for hook in hooks)
    if not consent(Code(fetched.origin, tuple(paths), tuple(map(str, extensions)))):
        raise ConfigurationError("it may not run: nothing was written")


def _declared(folder: Path) -> Values:
    """The variables of the template in a folder; ConfigurationError where it is not a template."""
    if not (folder / VARIABLES).is_file():
        inside = [place.parent.name for place in sorted(folder.glob(f"*/{VARIABLES}"))]
        raise ConfigurationError(f"it has no {VARIABLES}{_several(inside)}")
    declared = generate_context(str(folder / VARIABLES))["cookiecutter"]
    if not isinstance(declared, dict):
        raise ConfigurationError(f"{VARIABLES} does not hold a table of variables")
    nested = declared.get("templates")
    if nested is not None or "template" in declared:
        tables = nested.values() if isinstance(nested, dict) else ()
        paths = [str(table.get("path", "")) for table in tables if isinstance(table, dict)]
        raise ConfigurationError(f"it holds several templates{_several(paths)}")
    return declared


def _several(folders: Iterable[str]) -> str:
    listed = ", ".join(map(quoted, folders))
    return f"; --directory names one of {listed}" if listed else ""


def _digest(folder: Path) -> str:
    """The digest of what cookiecutter itself reads of a template."""
    tops = [top for top in folder.iterdir() if top.name in _USED or "cookiecutter" in top.name]
    places = [place for top in tops for place in (fetching.places(top) if top.is_dir() else (top,))]
    used = [place for place in places if place.is_file()]
    return templates.digest(
        {place.relative_to(folder).as_posix(): place.read_bytes() for place in used}
    )


def _known(template: CustomTemplate, context: Context) -> Values:
    """What the spec says: all of it to a template for loafer-kit, to others the project's name.

    There a variable called `version` is the template's own.
    """
    if template.purpose is not None:
        return context
    is_wanted = "project_name" in template.variables and "name" in context
    return {"project_name": context["name"]} if is_wanted else {}


def _refuse_names(folder: Path, context: Values) -> None:
    """Make sure that no value leads a file's name out of the project, where it would be written."""
    environment = create_env_with_context(context)
    project = find_template(str(folder), environment)
    name = environment.from_string(project.name).render(**context)
    # cookiecutter renders this name again, in those of the folders below it.
    marks = (environment.block_start_string, environment.variable_start_string)
    if "/" in name or name.startswith("-") or any(mark in name for mark in marks):
        raise ConfigurationError(f"{quoted(name)} cannot be a project's folder")
    refuse_reserved(name)
    for place in fetching.places(project):
        try:
            path = environment.from_string(str(place.relative_to(project))).render(**context)
        except Exception:  # noqa: BLE001, S112 - cookiecutter names it, or copies the file as it is
            continue
        if place.is_dir() and path[-1:] in ("", "/"):
            raise ConfigurationError(f"the name of the folder {quoted(place.name)} is empty")
        if path.startswith("/") or ".." in path.split("/"):
            raise ConfigurationError(f"{quoted(path)} leads out of the project")


def _files(project: Path, notes: list[str]) -> dict[str, File]:
    """The files of a project; what cannot be in one is named in the notes."""
    notes += fetching.resolve_links(project)
    files = {}
    for here, folders, found in os.walk(project, onerror=fetching.refuse_unreadable):
        for name in {".git", CACHE}.intersection((*folders, *found)):
            if name == ".git":
                path = Path(here, name).relative_to(project).as_posix()
                notes.append(f"{path}, which belongs to git; --git begins a repository")
        folders[:] = sorted(set(folders) - {".git", CACHE})
        for name in sorted(set(found) - {".git"}):
            place = Path(here, name)
            path, mode = place.relative_to(project).as_posix(), place.stat().st_mode
            if stat.S_ISREG(mode):
                files[path] = File(read_file(place), bool(mode & stat.S_IXUSR))
            else:
                notes.append(f"{path}, which is not a regular file")
    return files


def _plan(files: Mapping[str, File], purpose: str | None) -> Plan:
    """The plan that writes these files; those of a template for loafer-kit are formatted first."""
    for path in files:
        refuse_reserved(path)
    contents = {path: file.content for path, file in files.items()}
    if purpose is not None:
        contents = {path: finish(path, content) for path, content in contents.items()}
    return Plan(contents, frozenset(path for path, file in files.items() if file.executable))


@contextmanager
def _hosted(workspace: Path, imported: Path | None = None) -> Iterator[None]:
    """Undo what cookiecutter and a template's modules change in this process.

    Temporary files go into the workspace, modules are also imported from `imported`, and git looks at
    no other repository than the one that it is given.
    """
    environment, path, modules = dict(os.environ), sys.path[:], set(sys.modules)
    temporary, logger = tempfile.tempdir, logging.getLogger("cookiecutter")
    level = logger.level
    for name in git.ELSEWHERE:
        os.environ.pop(name, None)
    os.environ.update(_GIT)
    tempfile.tempdir = str(workspace)
    logger.setLevel(logging.CRITICAL + 1)  # what it logs is in its exceptions
    if imported is not None:
        sys.path.append(str(imported))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path
        tempfile.tempdir = temporary
        logger.setLevel(level)
        for name in set(sys.modules) - modules:
            top = name.partition(".")[0]
            if imported is not None and any(
                (imported / file).exists() for file in (top, f"{top}.py")
            ):
                del sys.modules[name]


@contextmanager
def _stdout_as_stderr() -> Iterator[None]:
    """Let hooks print on standard error: standard output is the command's own, perhaps JSON."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@contextmanager
def _failures_in_one_line(origin: Origin, workspace: Path) -> Iterator[None]:
    try:
        yield
    except EOFError:  # nobody answers any longer
        raise
    except Exception as error:
        message = " ".join((_local(error, "hook_name") + _message(error, workspace)).split())
        message = message.replace(f"{workspace}/", "")
        raise ConfigurationError(f"{origin}: {message}") from error


def _message(error: Exception, place: Path) -> str:  # noqa: C901, PLR0911 - one line a kind
    """What an error of cookiecutter, of git or of a template says, with its place."""
    match error:
        case ConfigurationError():
            return str(error)
        case exceptions.UndefinedVariableInTemplate():
            return f"{error.message}: {_place(error.error)}{error.error.message}"
        case exceptions.FailedHookException():
            return f"{error}: nothing was written"
        case exceptions.OutputDirExistsException():
            return f"two of its folders come out with one name: {error}"
        case exceptions.NonTemplatedInputDirException():
            return "it has no folder like {{cookiecutter.name}} that becomes the project's"
        case exceptions.UnknownRepoType():
            return "nothing says that it is a git repository: begin the URL with git+ or ssh://"
        case exceptions.CookiecutterException():
            return str(error)
        case subprocess.CalledProcessError():
            return f"git: {error.output.decode(errors='replace')}"
        case TemplateSyntaxError():
            return f"{error.name or '<template>'}:{error.lineno}: {error.message}"
        case OSError() if error.strerror:
            file = str(error.filename)
            return f"{file}: {error.strerror}" if file.startswith(str(place)) else error.strerror
    notes = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
    place_in_template = _place(error) or _local(error, "infile")
    return f"{notes}{place_in_template}{type(error).__name__}: {error}"


def _place(error: BaseException) -> str:
    """The file and the line of a template where an error occurred, as far as it is known."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        f"{frame.filename}:{frame.lineno}: "
        for frame in frames
        if frame.filename == "<template>" or not frame.filename.startswith(("/", "<"))
    ]
    return places[-1] if places else ""


def _local(error: BaseException, name: str) -> str:
    """What cookiecutter was at when an error occurred: it names hooks and files in its log alone."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    found = [frame.f_locals[name] for frame in frames if name in frame.f_locals]
    return f"{found[0]}: " if found else ""
