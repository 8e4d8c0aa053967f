"""Journal: which letters a replay has sent, so that an interrupted one can be resumed."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.ext.aws.addresses import bare_name

#: "sending": the send was about to begin. "sent": SQS confirmed it. "over": nothing is left to do.
State = Literal["sending", "sent", "over"]

#: Seconds: SQS keeps no message longer.
_LONGEST_RETENTION = 14 * 24 * 3600


class Journal:
    """What is known of letters by their ids, in a file that survives the process.

    `key` says what is sent: the URL of a dead-letter queue, or a file and a queue. The files are in
    `$XDG_STATE_HOME/loafer-kit/dlq`, by default below `~/.local/state`. A file is locked while it is
    open; when nothing is left to do it is emptied.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.path = _folder() / f"{bare_name(key)}-{digest}.jsonl"
        self.states: dict[str, State] = {}

    def __enter__(self) -> Self:
        path = self.path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The journal {path} cannot be written: {error.strerror}; name a folder that can by "
                "XDG_STATE_HOME"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.states = _read(path)
        except BaseException as error:
            os.close(self._descriptor)
            if isinstance(error, BlockingIOError):
                raise LoaferKitError(
                    f"Another process on this machine sends from {bare_name(self._key)}: wait for it"
                ) from error
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self.states:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def record(self, state: State, letters: Iterable[str]) -> None:
        """Record the state of letters; it is on the disk when this returns."""
        names = list(letters)
        if not names:
            return
        line = json.dumps({"at": int(time.time()), "state": state, "letters": names})
        os.write(self._descriptor, f"{line}\n".encode())
        os.fsync(self._descriptor)
        _apply(self.states, state, names)


def _folder() -> Path:
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local/state") / "loafer-kit/dlq"


def _read(path: Path) -> dict[str, State]:
    states: dict[str, State] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the process was killed while it wrote the line, before it went on
            continue
        if entry["at"] > time.time() - _LONGEST_RETENTION:
            _apply(states, entry["state"], entry["letters"])
    return states


def _apply(states: dict[str, State], state: State, letters: list[str]) -> None:
    for letter in letters:
        if state == "over":
            states.pop(letter, None)
        else:
            states[letter] = state
