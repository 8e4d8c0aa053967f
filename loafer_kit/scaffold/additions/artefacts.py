"""Adds an artefact to a service: its files, its name in `loafer.toml`, and the code that goes with it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from loafer_kit.scaffold.additions.extensions import ExtensionAddition
from loafer_kit.scaffold.additions.pieces import LeftOutError, UnplacedError
from loafer_kit.scaffold.project import line_ends, merges
from loafer_kit.scaffold.project.projects import SPEC, Generator
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.fields import ARTEFACT_NAMES
from loafer_kit.scaffold.spec.specs import Draft

_BOM = "\ufeff"

#: The extensions that artefacts bring along: module and class.
EXTENSIONS = {"monitoring": ("loafer_kit.contrib.monitoring", "Monitoring")}

_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_LIST = re.compile(r"^[ \t]*with[ \t]*=[ \t]*\[(?P<rest>[ \t]*(?P<end>\])?)", re.MULTILINE)
_KEY = re.compile(r"^[ \t]*(?:name|package)[ \t]*=[^\n]*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ArtefactAddition:
    """An artefact, and the service's files as the template renders them without it and with it."""

    name: str
    package: str
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]

    @property
    def paths(self) -> list[str]:
        """The files that differ."""
        return [path for path in self.after if self.after[path] != self.before.get(path)]

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """A file of the project with the artefact; UnplacedError if its code is not recognised.

        LeftOutError if the change conflicts with an edit.
        """
        if path not in self.paths:
            return ours
        if ours is None:  # a deleted file stays deleted
            return None if path in self.before else self.after[path]
        before = line_ends.like(self.before.get(path), ours)
        after = line_ends.like(self.after[path], ours)
        if ours in (before, after):
            return after
        if path == SPEC:
            return _with_name(ours, self.name)
        if path == f"{self.package}/__init__.py" and self.name in EXTENSIONS:
            return ExtensionAddition(self.package, *EXTENSIONS[self.name]).apply(path, ours)
        merge = merges.merge(before or after, ours, after)
        if merge.conflicts:
            raise LeftOutError
        return merge.content


def plan(draft: Draft, name: str, generator: Generator) -> ArtefactAddition:
    """The addition of an artefact to the service that `loafer.toml` describes."""
    spec = validation.service(draft)
    others = tuple(other for other in spec.ships if other != name)
    ships = tuple(known for known in ARTEFACT_NAMES if known in (*others, name))
    return ArtefactAddition(
        name=name,
        package=spec.package,
        before=generator.service(replace(spec, ships=others)).plan.files,
        after=generator.service(replace(spec, ships=ships)).plan.files,
    )


def _with_name(content: bytes, name: str) -> bytes:
    """A `loafer.toml` whose `with` has one more name, and no other byte changed."""
    snippet = f'with = ["{name}"]'
    try:
        text = content.decode()
        mark = _BOM if text.startswith(_BOM) else ""
        text = text.removeprefix(_BOM)
        values = tomllib.loads(text)
        wanted = values.get("with", [])
        if name in wanted:
            return content
        added = _inserted(text, name, line_ends.prevailing(content).decode())
        proved = tomllib.loads(added) == {**values, "with": [name, *wanted]}
    except (ValueError, TypeError, RecursionError):
        proved = False
    if not proved:
        raise UnplacedError(SPEC, "it has no place for one more name in `with`", snippet)
    return (mark + added).encode()


def _inserted(text: str, name: str, newline: str) -> str:
    first_table = _TABLE.search(text)
    end = first_table.start() if first_table else len(text)
    if listed := _LIST.search(text, 0, end):
        at = listed.start("rest")
        rest = text[at:].lstrip(" \t")
        comma = "" if listed["end"] else "," if rest.startswith(("\r", "\n")) else ", "
        return text[:at] + f'"{name}"{comma}' + rest
    keys = list(_KEY.finditer(text, 0, end))
    at = keys[-1].end() if keys else 0
    lead = newline if keys and not text[:at].endswith("\n") else ""
    return text[:at] + f'{lead}with = ["{name}"]{newline}' + text[at:]
