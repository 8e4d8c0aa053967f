"""The lock of a project: its template and spec, and the files that the template rendered.

The rendered files are the base of the next update. A lock may come with a foreign repository: it is
checked like any other input, its paths first.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loafer_kit import __version__
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.project import git, texts
from loafer_kit.scaffold.project.plans import FOLDER, digest, read, refuse_reserved
from loafer_kit.scaffold.rendering.templates import Origin, refuse_unsafe
from loafer_kit.scaffold.sources.documents import refuse_depth

PATH = f"{FOLDER}/lock.json"

_FORMAT = 2
_LARGEST_BINARY = 1024 * 1024
_MOST_BYTES = 256 * 1024 * 1024


class Digest(str):
    """The SHA-256 of a file whose content the lock does not keep."""

    __slots__ = ()


Base = bytes | Digest


@dataclass(frozen=True, slots=True)
class TemplateRef:
    """The template of a project; `origin` is None for a built-in one.

    `answers` are the values of its variables that the spec does not set.
    """

    name: str
    digest: str
    origin: Origin | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edit:
    """One file that a command changed: the bytes that it inserted and those that it removed.

    `offset` and `inserted` count bytes. `removed` is None if the command created the file; `digest`
    is that of the whole file as the command left it, None if the command removed it.
    """

    path: str
    digest: str | None
    offset: int
    inserted: int
    removed: bytes | None


@dataclass(frozen=True, slots=True)
class Record:
    """A command: its edits, and the lock's spec before it, None if there was no lock."""

    command: str
    edits: tuple[Edit, ...]
    before: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Lock:
    """What a project was made from: the base of the next three-way merge.

    `files` are as the template rendered them, not as they are in the project; a file that
    `.gitignore` covers, and a large binary, is a `Digest`. `executables` are the paths of those that
    are executable. `records` are the commands that can still be undone, the last one last.
    """

    template: TemplateRef
    spec: Mapping[str, Any]
    files: Mapping[str, Base]
    records: tuple[Record, ...] = ()
    executables: frozenset[str] = frozenset()
    version: str = __version__


def find(project: Path) -> Lock | None:
    """The lock of a project, None if it has none.

    ConfigurationError if it is damaged or names a forbidden path.
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


def bases(project: Path, files: Mapping[str, bytes], before: Mapping[str, Base]) -> dict[str, Base]:
    """The rendered files as a lock keeps them; `before` are those of the earlier lock.

    A file that `.gitignore` covers keeps its earlier hash: it may hold a secret that is drawn anew
    by each rendering.
    """
    kept: dict[str, Base] = {}
    ignored = git.covered(files, project, files)
    for path, content in files.items():
        if path in ignored:
            kept[path] = digest_of(before.get(path, content))
        else:
            is_large = len(content) > _LARGEST_BINARY and texts.is_binary(content)
            kept[path] = digest_of(content) if is_large else content
    return kept


def digest_of(base: Base) -> Digest:
    """The hash of a rendered file."""
    return base if isinstance(base, Digest) else Digest(digest(base))


def is_base(base: Base | None, content: bytes) -> bool:
    """Whether a project's file is the base, whatever its line ends are."""
    if isinstance(base, Digest):
        return texts.form_with(base, content) is not None
    return content == texts.like(base, content)


def content(lock: Lock) -> bytes:
    """The lock's file: JSON, with the content of each file compressed."""
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
            path: _described_file(file, path in lock.executables)
            for path, file in sorted(lock.files.items())
        },
    }
    return (json.dumps(values, indent=1) + "\n").encode()


def _described_file(file: Base, executable: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"sha256": digest_of(file)}
    if not isinstance(file, Digest):
        described["content"] = _packed(file)
    return described | ({"executable": True} if executable else {})


def _lock(values: Mapping[str, Any]) -> Lock:
    version, format_ = _text(values["loafer_kit"]), values["format"]
    if not isinstance(format_, int):
        raise TypeError("expected a number as format")
    if _numbers(version) > _numbers(__version__):
        raise ConfigurationError(f"written by loafer-kit {quoted(version)}: upgrade this one")
    if format_ != _FORMAT:
        raise ConfigurationError(
            f"format {format_} is unknown to loafer-kit {__version__}, which reads {_FORMAT}"
        )
    unpacker = _Unpacker()
    return Lock(
        template=_template(values["template"]),
        spec=_table(values["spec"]),
        files={path: _file(path, entry, unpacker) for path, entry in values["files"].items()},
        records=tuple(_record(entry, unpacker) for entry in values["records"]),
        executables=frozenset(
            path for path, entry in values["files"].items() if entry.get("executable") is True
        ),
        version=version,
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
    """The numbers of a release; a project is never updated by an older release."""
    return [int(number) for number in re.findall(r"[0-9]+", version)[:3]]


def _file(path: str, entry: Mapping[str, Any], unpacker: "_Unpacker") -> Base:
    refuse_reserved(path)
    sha256 = _text(entry["sha256"])
    if "content" not in entry:
        return Digest(sha256)
    file = unpacker.unpacked(entry["content"])
    if digest(file) != sha256:
        raise ValueError(f"the content of {path!a} does not match its hash")
    return file


def _record(values: Mapping[str, Any], unpacker: "_Unpacker") -> Record:
    before = values["before"]
    edits = tuple(_edit(edit, unpacker) for edit in values["edits"])
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


def _edit(values: Mapping[str, Any], unpacker: "_Unpacker") -> Edit:
    path, removed, sha256 = _text(values["path"]), values["removed"], values["sha256"]
    refuse_reserved(path)
    offset, inserted = values["offset"], values["inserted"]
    if not (type(offset) is type(inserted) is int and min(offset, inserted) >= 0):
        raise ValueError(f"the edit of {path!a} has no valid place")
    return Edit(
        path=path,
        digest=None if sha256 is None else _text(sha256),
        offset=offset,
        inserted=inserted,
        removed=None if removed is None else unpacker.unpacked(removed),
    )


def _packed(file: bytes) -> str:
    return base64.b64encode(zlib.compress(file, 9)).decode()


class _Unpacker:
    """Decompresses the contents of one lock, up to a limit for all of them together."""

    def __init__(self) -> None:
        self._left = _MOST_BYTES

    def unpacked(self, packed: object) -> bytes:
        decompressor = zlib.decompressobj()
        try:
            data = base64.b64decode(_text(packed), validate=True)
            file = decompressor.decompress(data, self._left + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError("a content is not compressed as base64") from error
        self._left -= len(file)
        if self._left < 0:
            raise ValueError(f"its contents take more than {_MOST_BYTES} bytes")
        if not decompressor.eof:
            raise ValueError("a content is not complete")
        return file


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a string")
    return value


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("expected a table")
    refuse_depth(value)
    return value


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error) or type(error).__name__
