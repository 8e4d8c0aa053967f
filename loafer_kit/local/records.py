"""Records of what `loafer-kit dev` runs, by which other commands find its server and services.

Each running `dev` keeps one file in the user's folder below the temporary directory. It locks the
file, and the system releases the lock however the process ends: a file without a lock is stale and
is removed.
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loafer_kit.exceptions import LoaferKitError


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A running server: its URL, its services, and the names that `send` completes.

    `queues` includes dead-letter queues. `rabbitmq` is the URL of the broker beside it, if there is one.
    """

    url: str
    service: str
    pid: int = field(default_factory=os.getpid)
    queues: Sequence[str] = field(default_factory=list)
    topics: Sequence[str] = field(default_factory=list)
    rabbitmq: str | None = None


@contextlib.contextmanager
def announce(record: ServerRecord) -> Iterator[Path]:
    """Let `running` find `record` until the block ends."""
    path = _folder() / f"server-{record.pid}.json"
    unfinished = path.with_suffix(".new")  # visible only when it is complete and locked
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
    """Return the running servers, the one started last first; remove stale records."""
    found = []
    for path in _folder().glob("server-*.json"):
        # It was removed meanwhile, is incomplete, or was written by another version of this package.
        with contextlib.suppress(OSError, ValueError, TypeError):
            record = _read(path)
            if record is not None:
                found.append((path.stat().st_mtime, record))
    return [record for _, record in sorted(found, key=lambda item: item[0], reverse=True)]


def control_path(package: str) -> Path:
    """Return where a service of `dev` has its control socket."""
    return _folder() / f"{package}.control"


def control_paths() -> list[Path]:
    """Return the control sockets of the services that `dev` runs."""
    return sorted(_folder().glob("*.control"))


def _read(path: Path) -> ServerRecord | None:
    with path.open(encoding="utf-8") as file:
        if _is_locked(file.fileno()):
            return ServerRecord(**json.load(file))
    path.unlink(missing_ok=True)
    return None


def _folder() -> Path:
    """Return the folder of this user's records; only this user can write there."""
    folder = Path(tempfile.gettempdir(), f"loafer-kit-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise LoaferKitError(
            f"{folder} belongs to another user, or others may write there: remove it"
        )
    return folder


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
