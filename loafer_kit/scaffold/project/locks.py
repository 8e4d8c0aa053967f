"""The lock of a project: what it was made from, and the template's files byte by byte.

It lies in the project and comes with whoever's repository that is: what it says is checked as any
other input, its paths first.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loafer_kit import __version__
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.project.history import Edit, Record, digest
from loafer_kit.scaffold.project.plans import LOCK, read, refuse_reserved
from loafer_kit.scaffold.rendering.origins import Origin, refuse_unsafe
from loafer_kit.scaffold.sources.documents import refuse_depth
from loafer_kit.scaffold.spec import names

PATH = LOCK

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """The template that made a project: what it is for, and where it comes from if not from us.

    `answers` are the values of its variables, as far as the spec does not say them.
    """

    name: str
    digest: str
    origin: Origin | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lock:
    """What a template once made of a spec: the base of the next three-way merge.

    `files` are as the template rendered them, whatever has become of them in the project;
    `records` are the commands that can still be taken back, last last.
    """

    template: TemplateRef
    spec: Mapping[str, Any]
    files: Mapping[str, bytes]
    records: tuple[Record, ...] = ()
    version: str = __version__


def find(project: Path) -> Lock | None:
    """The lock of a project, None when it has none.

    ConfigurationError where it is damaged, was edited, or names a place it must not.
    """
    content = read(project, PATH)
    if content is None:
        return None
    where = project / PATH
    try:
        return _lock(json.loads(content))
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{where} is damaged ({_why(error)}): restore it from your version control"
        ) from error


def content(lock: Lock) -> bytes:
    """The lock as it is kept: JSON, one line of a file in one line of its own."""
    values = {
        "format": _FORMAT,
        "loafer_kit": lock.version,
        "template": _described(lock.template),
        "spec": lock.spec,
        "records": [
            {
                "command": record.command,
                "before": record.before,
                "edits": [_packed_edit(edit) for edit in record.edits],
            }
            for record in lock.records
        ],
        "files": {
            path: {"sha256": digest(file), "content": _packed(file)}
            for path, file in sorted(lock.files.items())
        },
    }
    return (json.dumps(values, indent=1) + "\n").encode()


def _lock(values: Mapping[str, Any]) -> Lock:
    if values["format"] > _FORMAT or _numbers(values["loafer_kit"]) > _numbers(__version__):
        raise ConfigurationError(
            f"written by loafer-kit {names.shown(values['loafer_kit'])}: upgrade this one"
        )
    files = {path: _file(path, entry) for path, entry in values["files"].items()}
    template = values["template"]
    return Lock(
        template=_template(template),
        spec=_table(values["spec"]),
        files=files,
        records=tuple(_record(entry) for entry in values["records"]),
        version=_text(values["loafer_kit"]),
    )


def _described(template: TemplateRef) -> dict[str, Any]:
    described: dict[str, Any] = {"name": template.name, "digest": template.digest}
    if template.origin is not None:
        origin = asdict(template.origin).items()
        described["origin"] = {key: value for key, value in origin if value is not None}
        described["answers"] = template.answers
    return described


def _template(values: Mapping[str, Any]) -> TemplateRef:
    origin = values.get("origin")
    return TemplateRef(
        name=_text(values["name"]),
        digest=_text(values["digest"]),
        origin=None if origin is None else _origin(_table(origin)),
        answers=_table(values.get("answers", {})),
    )


def _origin(values: Mapping[str, Any]) -> Origin:
    origin = Origin(**{key: _text(value) for key, value in values.items()})
    refuse_unsafe(origin)
    return origin


def _numbers(version: str) -> list[int]:
    """A release's numbers, to tell a later one: nothing is updated backwards."""
    return [int(number) for number in re.findall(r"[0-9]+", version)[:3]]


def _file(path: str, entry: Mapping[str, Any]) -> bytes:
    refuse_reserved(path)
    file = _unpacked(entry["content"])
    if digest(file) != entry["sha256"]:
        raise ValueError(f"the content of {path!a} does not have its hash")
    return file


def _record(values: Mapping[str, Any]) -> Record:
    before = values["before"]
    edits = tuple(_edit(edit) for edit in values["edits"])
    if len({edit.path for edit in edits}) < len(edits):
        raise ValueError("a command edits a file twice")
    return Record(
        command=_text(values["command"]),
        edits=edits,
        before=None if before is None else _table(before),
    )


def _packed_edit(edit: Edit) -> dict[str, Any]:
    return {
        "path": edit.path,
        "sha256": edit.digest,
        "offset": edit.offset,
        "inserted": edit.inserted,
        "removed": None if edit.removed is None else _packed(edit.removed),
    }


def _edit(values: Mapping[str, Any]) -> Edit:
    path, removed, sha256 = _text(values["path"]), values["removed"], values["sha256"]
    refuse_reserved(path)
    offset, inserted = values["offset"], values["inserted"]
    if not (type(offset) is type(inserted) is int and min(offset, inserted) >= 0):
        raise ValueError(f"the edit of {path!a} is at no place")
    return Edit(
        path=path,
        digest=None if sha256 is None else _text(sha256),
        offset=offset,
        inserted=inserted,
        removed=None if removed is None else _unpacked(removed),
    )


def _packed(file: bytes) -> list[str] | str:
    """Text as a list of its lines, anything else in base64."""
    try:
        return file.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return base64.b64encode(file).decode()


def _unpacked(packed: object) -> bytes:
    if isinstance(packed, str):
        try:
            return base64.b64decode(packed, validate=True)
        except binascii.Error as error:
            raise ValueError("a content is no base64") from error
    if isinstance(packed, list):
        return "".join(packed).encode()
    raise TypeError("a content is neither lines nor base64")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is none")
    return value


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("the spec is no table")
    refuse_depth(value)
    return value


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error) or type(error).__name__
