"""Changes to a project: shows them, asks about edited files, and commits them."""

import difflib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from loafer_kit.cli.terminal.options import Diff, DryRun, Json
from loafer_kit.cli.terminal.output import (
    Terminal,
    is_interactive,
    print_exactly,
    say,
    say_json,
    takes_colour,
)
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape
from loafer_kit.scaffold.project import git as repositories
from loafer_kit.scaffold.project import journals, locks, projects, texts, updates
from loafer_kit.scaffold.project import writing as disk
from loafer_kit.scaffold.project.journals import Interruption
from loafer_kit.scaffold.project.plans import VERSION, Change, Plan, changes
from loafer_kit.scaffold.project.projects import Generator, Rendering
from loafer_kit.scaffold.project.updates import Candidate
from loafer_kit.scaffold.rendering.contexts import Context

WOULD_CHANGE = 2

# Writes bytes that are not UTF-8 as they are.
_EXACTLY = "surrogateescape"
_ACTION_COLOURS = {
    "create": typer.colors.GREEN,
    "overwrite": typer.colors.YELLOW,
    "update": typer.colors.GREEN,
    "merge": typer.colors.CYAN,
    "conflict": typer.colors.RED,
    "remove": typer.colors.RED,
    "keep": typer.colors.YELLOW,
}
# What a folder may hold that a host of repositories made for a new project.
_BEGINNING = re.compile(r"\.git(ignore|attributes)?|(LICEN[CS]E|COPYING)(\.(md|txt|rst))?")
_COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}
_ANSWERS = (
    "n: leave it as it is; y: write the template's file over it; d: show what y would change; "
    "m: merge both; a: y for this and all that follow; q: write nothing at all"
)


@dataclass(frozen=True, slots=True)
class Show:
    """The options that say how a command shows its changes, and whether it writes them."""

    dry_run: DryRun = False
    diff: Diff = False
    json: Json = False

    @property
    def only(self) -> bool:
        """Whether the command writes nothing."""
        return self.dry_run or self.diff

    def changes(
        self, changed: Sequence[Change], target: Path, more: Mapping[str, object] | None = None
    ) -> None:
        """Show the changes to a folder; `more` goes into the JSON object beside them."""
        wanted = [change for change in changed if change.action != "unchanged"]
        if self.json:
            described = [_described(change) for change in wanted]
            values = {"target": str(target), "written": not self.only, "changes": described}
            say_json({**values, **(more or {})})
            return
        for change in wanted:
            note = f"  ({change.note})" if change.note else ""
            _say(change.action, f"{target / change.path}{note}")
        if len(wanted) < len(changed):
            _say("unchanged", f"{len(changed) - len(wanted)} of {len(changed)} files")
        if self.diff:
            for change in changed:
                if change.path != locks.PATH:
                    _show_diff(change)

    def tell(self, text: str) -> None:
        """Tell a person something; a machine does not get it."""
        if not self.json:
            say(text)


def _say(action: str, text: str) -> None:
    """Print an action in its column, coloured on a terminal, and what it is done to."""
    column, colour = f"{action:>9}", _ACTION_COLOURS.get(action)
    styled = typer.style(column, fg=colour) if colour and takes_colour(sys.stdout) else column
    print_exactly(f"{styled}  {escape(text)}\n")


def _described(change: Change) -> dict[str, object]:
    return {
        "path": change.path,
        "action": change.action,
        "conflicts": change.conflicts,
        "executable": change.executable,
        "note": change.note,
        "diff": diff(change),
    }


def diff(change: Change, *, errors: str = "backslashreplace") -> str:
    """Return a change as a unified diff; `errors` says how to decode what is not UTF-8."""
    before, after = _lines(change.before, errors), _lines(change.after, errors)
    old = "/dev/null" if change.before is None else f"a/{change.path}"
    new = "/dev/null" if change.after is None else f"b/{change.path}"
    return "".join(_ended(difflib.unified_diff(before, after, old, new)))


def _lines(content: bytes | None, errors: str) -> list[str]:
    return [line.decode(errors=errors) for line in texts.lines(content or b"")]


def _ended(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _show_diff(change: Change) -> None:
    """Print a diff: escaped and coloured on a terminal, elsewhere byte for byte, for `patch`."""
    if sys.stdout.isatty():
        shown = escape(diff(change)).splitlines(keepends=True)
        print_exactly("".join(map(_coloured, shown) if takes_colour(sys.stdout) else shown))
    else:
        print_exactly(diff(change, errors=_EXACTLY).encode(errors=_EXACTLY))


def _coloured(line: str) -> str:
    if line.startswith(("+++", "---")):
        return typer.style(line, bold=True)
    return typer.style(line, fg=_COLOURS[line[0]]) if line[0] in _COLOURS else line


def begin(target: Path, show: Show) -> Interruption | None:
    """Settle what a killed command left in a project, and say so; to be called before all else.

    With --dry-run or --diff nothing is written: ConfigurationError if there is anything to settle.
    """
    if show.only:
        left = journals.interruption(target)
        if left is not None:
            raise ConfigurationError(f"{left}: {left.remedy}")
        return None
    left = disk.recover(target)
    if left is not None:
        done = "it is complete" if left.is_complete else "its files are as they were before"
        say(f"{left}: {done}", err=True)
    return left


@dataclass(frozen=True, slots=True)
class _Beside:
    """A file outside the project that is written together with it."""

    change: Change
    folder: Path


def write(
    changed: Sequence[Change],
    target: Path,
    *,
    command: str,
    show: Show,
    saved: _Beside | None = None,
    notes: Sequence[str] | None = None,
) -> None:
    """Show changes and commit them all; with --dry-run or --diff, show them and exit.

    Raises ConfigurationError if conflicts are left for a person to resolve.
    """
    more: dict[str, object] = {} if notes is None else {"notes": list(notes)}
    beside = [] if saved is None else [saved.change]
    if saved is not None:
        more["saved_spec"] = {"folder": str(saved.folder), **_described(saved.change)}
        if not show.json:
            show.changes(beside, saved.folder)
    if show.only or not show.json:
        show.changes(changed, target, more)
    if show.only:
        would_change = any(change.writes for change in (*changed, *beside))
        raise typer.Exit(WOULD_CHANGE if would_change else 0)
    with disk.written_after(saved.change, saved.folder) if saved else nullcontext():
        disk.apply(changed, target, command)
    if show.json:
        show.changes(changed, target, more)
    _refuse_conflicts(changed, target)


def _refuse_conflicts(changed: Sequence[Change], target: Path) -> None:
    left = [change for change in changed if change.conflicts]
    marked = ", ".join(change.path for change in left if change.before != change.after)
    binaries = ", ".join(change.path for change in left if change.before == change.after)
    what = []
    if marked:
        what.append(f"in {marked}: choose between the lines that <<<<<<< and >>>>>>> enclose")
    if binaries:
        what.append(f"in {binaries}: keep it or the {VERSION} file beside it")
    if what:
        raise ConfigurationError(
            f"conflicts are left {'; '.join(what)}, then run "
            f"`loafer-kit check {shlex.quote(str(target))}`"
        )


def generate(
    generator: Generator,
    context: Context,
    output_dir: Path,
    *,
    command: str,
    show: Show,
    force: bool,
    git: bool,
    next_steps: Mapping[str, str],
    spec: Mapping[str, Any] | None = None,
    save_spec: Path | None = None,
    notes: Sequence[str] | None = None,
    in_place: bool = False,
) -> None:
    """Generate a project in its own folder, and name the next steps.

    With `in_place`, `output_dir` itself is that folder. `spec` goes into the lock of a project whose
    files do not hold it. `save_spec` is a file that gets the project's spec. `notes` go into the
    JSON. With `git`, the folder becomes a repository.
    """
    if git and not show.only and shutil.which("git") is None:
        raise ConfigurationError("git is not installed: install it, or leave out --git")
    rendering = generator.render(context, spec)
    target = output_dir if in_place else output_dir / rendering.folder
    rendering = rendering.moved(target)
    show_notes(rendering)
    saved = None
    if save_spec is not None:
        files = rendering.plan.files
        if projects.SPEC not in files:
            files = projects.builtin("service").render(context).plan.files
        saved = _saved(files[projects.SPEC], save_spec, target, force=force or show.only)
    begin(target, show)
    lock = locks.find(target)
    found = updates.candidates(lock, rendering.plan, target)
    changed = _decided(found, target, force=force, show=show)
    record = updates.record(command, changed, lock.spec if lock else None)
    before = lock.records if lock else ()
    after = rendering.locked(target, lock, (*before, record) if record.edits else before)
    changed = [*changed, projects.lock_change(target, after)]
    if rendering.notes:
        notes = [*(notes or ()), *rendering.notes]
    write(changed, target, command=command, show=show, saved=saved, notes=notes)
    ignored = [item.path for item in found if item.is_ignored and item.path.endswith(".py")]
    if ignored:
        say(f"git leaves these files out, as .gitignore says: {', '.join(ignored)}", err=True)
    if git:
        _create_repository(target, [locks.PATH, *rendering.plan.files], show)
    show.tell("\nNext:" if target == Path() else f"\nNext: cd {shlex.quote(str(target))}")
    if generator.takes_spec:
        width = max(map(len, next_steps))
        for step, purpose in next_steps.items():
            show.tell(f"  {step:<{width}}  {purpose}")


def show_notes(rendering: Rendering) -> None:
    """Name what a template wrote and the project does not get."""
    for note in rendering.notes:
        say(f"left out: {note}", err=True)


def _saved(spec: bytes, path: Path, target: Path, *, force: bool) -> _Beside:
    if path.suffix != ".toml":
        raise ConfigurationError(f"{path}: a spec is saved as TOML, in a file that ends in .toml")
    if path.resolve().is_relative_to(target.resolve()):
        raise ConfigurationError(f"{path} is in the project, which keeps its spec by itself")
    [change] = changes(Plan({path.name: spec}), path.parent)
    if change.action == "overwrite" and not force:
        raise ConfigurationError(f"{path} exists and was not touched; --force overwrites it")
    return _Beside(change, path.parent)


def _decided(
    found: Sequence[Candidate], target: Path, *, force: bool, show: Show
) -> Sequence[Change]:
    """Decide about each file: by --force, by merging into an empty folder, or by asking."""
    if force:
        return updates.decided(found, Candidate.taken, target)
    if _is_begun(target):
        return updates.decided(found, _left_alone, target)
    changed = updates.decided(found, Candidate.merged, target)
    nothing_to_lose = not target.exists()
    if nothing_to_lose or show.only or not any(change.writes for change in changed):
        return changed
    if not is_interactive() or show.json:
        Show(dry_run=True, json=show.json).changes(changed, target)
        raise ConfigurationError(
            f"{target} exists and was not touched; on a terminal you are asked file by file, "
            "--force writes the template's files over it"
        )
    return updates.decided(found, _Person().decide, target)


def _is_begun(folder: Path) -> bool:
    """Whether a folder holds nothing but what hosts of repositories put into a new one."""
    try:
        return all(_BEGINNING.fullmatch(place.name) for place in folder.iterdir())
    except OSError:  # not a folder, or not readable
        return False


def _left_alone(candidate: Candidate) -> Change:
    """The change that creates a file; one that is there stays, and what it lacks is said."""
    if candidate.ours is None or candidate.ours == candidate.theirs:
        return candidate.merged()
    lacks = updates.lacking(b"", candidate.theirs or b"", candidate.ours)
    note = f"it was there before{lacks}"
    return Change(candidate.path, "keep", candidate.ours, candidate.ours, note=note)


class _Person:
    """Asks about each edited file: no, yes, diff, merge, all or quit."""

    def __init__(self) -> None:
        self._everything = False

    def decide(self, candidate: Candidate) -> Change:
        """The change that the person wants."""
        merged = candidate.merged()
        if not candidate.is_edited or not (merged.writes or merged.conflicts):
            return merged
        answer = "a" if self._everything else _answer(candidate)
        self._everything = answer == "a"
        if answer == "m":
            return merged
        return candidate.kept() if answer == "n" else candidate.taken()


def _answer(candidate: Candidate) -> str:
    person = Terminal()
    while True:
        question = f"{candidate.path} was edited. Overwrite it? [n]o/yes/diff/merge/all/quit"
        answer = person.ask(question, "n").strip().lower()[:1]
        if answer == "d":
            _show_diff(candidate.taken())
        elif answer == "q":
            raise typer.Abort
        elif answer in {"n", "y", "m", "a"}:
            return answer
        else:
            person.tell(_ANSWERS)


def _create_repository(target: Path, paths: Sequence[str], show: Show) -> None:
    place = repositories.around(target)
    is_begun = place == target.resolve() and not repositories.has_commit(target)
    if place is not None and not is_begun:
        say(f"no repository was created: {target} is inside that of {place}", err=True)
    elif repositories.begin(target, paths, f"Begin {target.name} as loafer-kit writes it"):
        show.tell("\nA git repository was created, with a first commit.")
    else:
        say(
            "a repository was created, with its files staged but without a commit: git does not "
            "know your name and e-mail address",
            err=True,
        )
