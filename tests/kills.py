"""Kills a copy of this process at any of its writes; nothing is cleaned up, as after SIGKILL."""

import os
import sys

KILLED = 9
_WRITES = {
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.link", "os.symlink"),
    *("os.truncate", "os.utime"),
}


def is_killed_at(turn, command, folder):
    """Run a function in a copy of this process that dies before one of its writes into a folder.

    `turn` counts the writes; a text is the kind of write, such as `os.remove`, and the end of the
    path. Returns whether the process died; otherwise the function came to its end.
    """
    child = os.fork()
    if child == 0:
        _let_die(turn, str(folder))
        code = 1
        try:
            command()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), code
    return code == KILLED


def _let_die(turn, folder):
    left = [turn]

    def hook(event, arguments):
        is_write = event in _WRITES or (
            event == "open"
            and isinstance(arguments[2], int)
            and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        places = [str(place) for place in arguments[: 2 if event == "os.rename" else 1]]
        if is_write and places[0].startswith(folder):
            if isinstance(turn, str):
                kind, path = turn.split()
                is_meant = kind == event and any(place.endswith(path) for place in places)
                left[0] = 0 if is_meant else 1
            if left[0] == 0:
                os._exit(KILLED)
            left[0] -= 1

    sys.addaudithook(hook)
