"""Which local servers run: how `loafer-kit send` finds `loafer-kit dev` in another terminal.

Each running `dev` keeps one file in a folder of the user's own below the temporary directory:
neither in the home directory nor in the project. It holds a lock on the file, which the system
releases however the process ends, so a file without a lock is stale and is removed.
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loafer_kit.exceptions import LoaferKitError


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A server in use: where it is, for which service, and what it has.

    `queues` names those of the service, its dead-letter queues included; `topics` the topic that
    each subscribed queue gets its messages from.
    """

    url: str
    service: str
    pid: int = field(default_factory=os.getpid)
    topics: Mapping[str, str] = field(default_factory=dict)
    queues: Sequence[str] = field(default_factory=list)


@contextlib.contextmanager
def announce(record: ServerRecord) -> Iterator[Path]:
    """Let `running` find `record` for as long as the block lasts."""
    path = _folder() / f"server-{record.pid}.json"
    unfinished = path.with_suffix(".new")  # becomes visible whole and locked
    with unfinished.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(asdict(record), file)
        file.flush()
        unfinished.rename(path)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def running() -> list[ServerRecord]:
    """Return the servers in use, the one started last first; forget stale ones."""
    found = []
    for path in _folder().glob("server-*.json"):
        # Gone since it was listed; or half written, or written by another version of this package.
        with contextlib.suppress(OSError, ValueError, TypeError):
            record = _read(path)
            if record is not None:
                found.append((path.stat().st_mtime, record))
    return [record for _, record in sorted(found, key=lambda item: item[0], reverse=True)]


def _read(path: Path) -> ServerRecord | None:
    with path.open(encoding="utf-8") as file:
        if _is_locked(file.fileno()):
            return ServerRecord(**json.load(file))
    path.unlink(missing_ok=True)
    return None


def _folder() -> Path:
    """Return the folder of this user's records, which nobody else can write to."""
    folder = Path(tempfile.gettempdir(), f"loafer-kit-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise LoaferKitError(
            f"{folder} belongs to somebody else, or others may write there: remove it"
        )
    return folder


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
