"""Templates: ours, which are beside the modules or in a checkout's `templates/`, and any other."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering import template_files
from loafer_kit.scaffold.rendering.origins import Origin
from loafer_kit.scaffold.rendering.template_files import File, Tree
from loafer_kit.scaffold.spec import names

_PACKAGE = Path(__file__).resolve().parents[2]
_VARIABLES = "cookiecutter.json"
#: What a template says it is for; one that says nothing is a plain cookiecutter template.
_FOR = "_loafer_kit"


@dataclass(frozen=True, slots=True)
class Template:
    """A template in memory. `origin` is None for one of ours."""

    files: Mapping[str, File]
    origin: Origin | None = None

    @property
    def variables(self) -> Mapping[str, Any]:
        """What its `cookiecutter.json` says."""
        return _variables(self.files[_VARIABLES].content, str(self.origin))

    @property
    def purpose(self) -> str | None:
        """Which of our templates it can stand for; None for a plain cookiecutter template."""
        purpose = self.variables.get(_FOR)
        return purpose if isinstance(purpose, str) else None

    @property
    def extensions(self) -> Sequence[str]:
        """The extensions of Jinja that it declares."""
        return _extensions(self.variables)

    @property
    def digest(self) -> str:
        """The digest of its files and of their paths."""
        total = hashlib.sha256()
        for path, file in sorted(self.files.items()):
            total.update(f"{path}\0{hashlib.sha256(file.content).hexdigest()}\n".encode())
        return total.hexdigest()

    def below(self, folder: str) -> dict[str, File]:
        """The files of a folder, with their paths in it."""
        start = f"{folder}/"
        return {
            path.removeprefix(start): file
            for path, file in self.files.items()
            if path.startswith(start)
        }

    @property
    def project(self) -> str:
        """The folder that becomes a project's: its name holds a variable."""
        tops = {path.partition("/")[0] for path in self.files if "/" in path}
        return next(top for top in sorted(tops) if _is_project(top, self.variables))


def locate(name: str) -> Path:
    """The folder of one of our own templates."""
    for folder in (_PACKAGE / "templates", _PACKAGE.parent / "templates"):
        if (folder / name / _VARIABLES).is_file():
            return folder / name
    raise ConfigurationError(f"the template {name!r} is not where loafer-kit is installed")


def ours(name: str) -> Template:
    """One of our own templates."""
    return _read(template_files.Folder(locate(name)), None)


def load(origin: Origin, base: Path) -> Template:
    """A template from where it is; a relative path is seen from the folder `base`.

    ConfigurationError when it is not there, or is none.
    """
    if origin.is_repository:
        from loafer_kit.scaffold.rendering import clones

        seen = replace(origin, reference=origin.url).moved(base, Path())
        _refuse_plain_folder(Path(seen.reference))
        tree: Tree
        tree, commit = clones.read(seen.reference, origin.checkout)
        origin = replace(origin, commit=commit)
    else:
        path = base / origin.reference if origin.is_path else _installed(origin.reference)
        try:
            tree = _tree(path)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
    if origin.directory is not None:
        tree = tree.folder(origin.directory)
    return _read(tree, origin)


def _refuse_plain_folder(path: Path) -> None:
    """Say it before git does, in more words; whatever else is wrong with a place, git says."""
    if path.is_dir() and not any((path / name).exists() for name in (".git", "HEAD")):
        why = "no git repository: a plain folder is named without git+ and --checkout"
        raise ConfigurationError(f"{names.shown(str(path))} is {why}")


def _installed(name: str) -> Path:
    from loafer_kit.scaffold.sources import installed

    return installed.template(name)


def _tree(path: Path) -> Tree:
    if path.is_dir():
        return template_files.Folder(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        from loafer_kit.scaffold.rendering import archives

        tree = archives.of_zip(path)
        tops = tree.tops()
        return tree.folder(tops[0]) if len(tops) == 1 and tree.file(tops[0]) is None else tree
    raise ConfigurationError(f"{path} is no folder and no zip file: a template is one of them")


def _read(tree: Tree, origin: Origin | None) -> Template:
    """The files of a template that are used: whatever else lies beside them is not even read."""
    found = tree.file(_VARIABLES)
    if found is None:
        raise ConfigurationError(f"{origin} is no template: it has no {_VARIABLES}{_hint(tree)}")
    variables = _variables(found.content, str(origin))
    files = {_VARIABLES: found}
    tops = tree.tops()
    if not any(_is_project(top, variables) for top in tops):
        raise ConfigurationError(
            f"{origin} has no folder like {{{{cookiecutter.name}}}} that becomes the project's"
            f"{_several(variables)}"
        )
    size = len(found.content)
    for top in tops:
        if _is_used(top, variables):
            for path, file in tree.below(top):
                files[path] = file
                size += len(file.content)
                template_files.refuse_large(str(origin), len(files), size)
    if not any("cookiecutter" in path.partition("/")[0] and "/" in path for path in files):
        raise ConfigurationError(f"{origin} has no file that becomes the project's")
    return Template(files, origin)


@functools.lru_cache
def _variables(content: bytes, origin: str) -> Mapping[str, Any]:
    try:
        variables = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{origin}: {_VARIABLES} is no JSON: {error}") from error
    if not isinstance(variables, dict):
        raise ConfigurationError(f"{origin}: {_VARIABLES} is no table of variables")
    return variables


def _is_project(top: str, variables: Mapping[str, Any]) -> bool:
    """Whether a folder's name holds a variable, as cookiecutter looks for it."""
    settings = variables.get("_jinja2_env_vars")
    marks = settings if isinstance(settings, dict) else {}
    start = str(marks.get("variable_start_string", "{{"))
    end = str(marks.get("variable_end_string", "}}"))
    return "cookiecutter" in top and start in top and end in top


def _extensions(variables: Mapping[str, Any]) -> Sequence[str]:
    declared = variables.get("_extensions")
    return [str(name) for name in declared] if isinstance(declared, list) else []


def _is_used(top: str, variables: Mapping[str, Any]) -> bool:
    modules = {name.partition(".")[0] for name in _extensions(variables)}
    used = {"hooks", "templates", *modules, *(f"{module}.py" for module in modules)}
    return top in used or _is_project(top, variables)


def _hint(tree: Tree) -> str:
    inside = [top for top in tree.tops() if tree.file(f"{top}/{_VARIABLES}") is not None]
    return f"; --directory names one of {', '.join(map(names.shown, inside))}" if inside else ""


def _several(variables: Mapping[str, Any]) -> str:
    """Several templates in one, as cookiecutter calls them nested."""
    nested = variables.get("templates")
    paths: Sequence[str] = [
        str(item.get("path", ""))
        for item in (nested.values() if isinstance(nested, dict) else ())
        if isinstance(item, dict)
    ]
    return f"; --directory names one of {', '.join(map(names.shown, paths))}" if paths else ""
