"""Shows changes: as a list, as diffs, as JSON."""

import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path

import typer

from loafer_kit.cli.printing import print_exactly, say, say_json
from loafer_kit.scaffold.escaping import harmless
from loafer_kit.scaffold.project.locks import PATH as LOCK
from loafer_kit.scaffold.project.plans import Change

WOULD_CHANGE = 2

# Of bytes that are no text, all can be written as they are.
_EXACTLY = "surrogateescape"
_COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}


@dataclass(frozen=True, slots=True)
class Show:
    """How changes are shown, and whether that is all that happens."""

    dry_run: bool = False
    diff: bool = False
    json: bool = False

    @property
    def only(self) -> bool:
        """Whether nothing is to be written."""
        return self.dry_run or self.diff

    def changes(
        self, changed: Sequence[Change], target: Path, more: Mapping[str, object] | None = None
    ) -> None:
        """Show what would be, or is about to be, written into a folder; in JSON there may be more."""
        if self.json:
            plan = _described(changed, target, written=not self.only)
            say_json({**plan, **(more or {})})
            return
        _list(changed, target)
        if self.diff:
            for change in changed:
                if change.path != LOCK:
                    show_diff(change)

    def end(self, changed: Sequence[Change]) -> None:
        """Leave with the exit code of a run that writes nothing; else go on."""
        if self.only:
            raise typer.Exit(WOULD_CHANGE if any(change.writes for change in changed) else 0)

    def tell(self, text: str) -> None:
        """Say something to a person, not to a machine."""
        if not self.json:
            say(text)


def show_diff(change: Change) -> None:
    """Print a change as a diff: readable on a terminal, elsewhere to the byte, as `patch` needs it."""
    if sys.stdout.isatty():
        print_exactly(coloured(harmless(diff(change))))
    else:
        print_exactly(diff(change, errors=_EXACTLY).encode(errors=_EXACTLY))


def diff(change: Change, *, errors: str = "backslashreplace") -> str:
    """A change as a unified diff; nothing where nothing changes. `errors` is for what is no text."""
    before, after = _lines(change.before, errors), _lines(change.after, errors)
    old = "/dev/null" if change.before is None else f"a/{change.path}"
    new = "/dev/null" if change.after is None else f"b/{change.path}"
    return "".join(_ended(difflib.unified_diff(before, after, old, new)))


def coloured(text: str) -> str:
    """A diff in colours."""
    return "".join(_coloured(line) for line in text.splitlines(keepends=True))


def _coloured(line: str) -> str:
    if environ.get("NO_COLOR"):
        return line
    if line.startswith(("+++", "---")):
        return typer.style(line, bold=True)
    return typer.style(line, fg=_COLOURS[line[0]]) if line[0] in _COLOURS else line


def _lines(content: bytes | None, errors: str) -> list[str]:
    """The lines, also of what is no text."""
    lines = (content or b"").decode(errors=errors).split("\n")
    return [line + "\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def _ended(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _list(changed: Sequence[Change], target: Path) -> None:
    wanted = [change for change in changed if change.action != "unchanged"]
    for change in wanted:
        say(f"{change.action:>9}  {target / change.path}{_note(change)}")
    if len(wanted) < len(changed):
        say(f"unchanged  {len(changed) - len(wanted)} of {len(changed)} files")


def _note(change: Change) -> str:
    if change.action == "keep":
        why = "deleted" if change.before is None else "edited"
        return f"  ({why} in the project: the template's change is left out)"
    if change.conflicts:
        return f"  ({change.conflicts} {'place' if change.conflicts == 1 else 'places'})"
    return ""


def _described(changed: Sequence[Change], target: Path, *, written: bool) -> dict[str, object]:
    wanted = [described(change) for change in changed if change.action != "unchanged"]
    return {"target": str(target), "written": written, "changes": wanted}


def described(change: Change) -> dict[str, object]:
    """A change for machines."""
    return {
        "path": change.path,
        "action": change.action,
        "conflicts": change.conflicts,
        "diff": diff(change),
    }
