"""The process that `loafer-kit dev` starts: it runs a service's `__main__` with readable logs.

Run as `python -m loafer_kit.local.launcher PACKAGE FD` in the project's folder. FD is the read end
of a pipe that the parent keeps open: it breaks when the parent ends, even by SIGKILL, and the
service ends too.
"""

import importlib.util
import logging
import os
import runpy
import signal
import sys
import threading


def launch(package: str, lifeline: int) -> None:
    """Run `package` as `python -m` does, until it ends or `lifeline` breaks."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    for name in ("aiobotocore", "botocore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    if importlib.util.find_spec(package) is None:
        sys.exit(f"error: there is no package {package!r} in {os.getcwd()}")  # noqa: PTH109
    if importlib.util.find_spec(f"{package}.__main__") is None:
        sys.exit(f"error: {package!r} has no __main__.py, so `python -m {package}` cannot run it")
    sys.argv = [package]
    runpy.run_module(package, run_name="__main__", alter_sys=True)


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    launch(sys.argv[1], int(sys.argv[2]))
