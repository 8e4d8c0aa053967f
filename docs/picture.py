"""Draws the terminal of the landing page: an SVG of a service's first run, as it really happens.

`python docs/picture.py FILE` writes a service into a temporary folder, runs it there on a terminal,
and writes the picture.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118

HANDLERS = '''\
"""The handlers of the messages."""

from collections.abc import Mapping
from typing import Any


async def handle_orders(message: Any, metadata: Mapping[str, Any]) -> bool:
    """Handle one order."""
    print(f"order {message['number']} is on its way")
    return True
'''

NEW = [
    "new",
    "service",
    "shop",
    "--queue",
    "orders,dead_letter_queue=orders-dead,max_receive_count=2",
]
DEV = ["dev", "--once", "--send", 'orders={"number": 1}', "--send", "orders=[]"]


def main(target: Path) -> None:
    """Run the commands and write the picture of the second one."""
    with tempfile.TemporaryDirectory(prefix="loafer-kit-picture-") as name:
        project = Path(name, "shop")
        on_terminal(NEW, Path(name))
        (project / "shop" / "handlers.py").write_text(HANDLERS)
        shown = on_terminal(DEV, project)
    target.write_text(picture(shown), encoding="utf-8")


def on_terminal(arguments: Sequence[str], folder: Path) -> str:
    """Return what a command of loafer-kit shows on a terminal, with its colours."""
    terminal, other_end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(WIDTH), "TMPDIR": str(folder)}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "loafer_kit", *arguments],
        cwd=folder,
        env=environment,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    ) as process:
        os.close(other_end)
        shown = read_all(terminal)
    os.close(terminal)
    if process.returncode:
        raise SystemExit(shown)
    words = " ".join(f"'{word}'" if re.search(r"[ {\[]", word) else word for word in arguments)
    return f"$ loafer-kit {words}\n{shown}"


def read_all(terminal: int) -> str:
    """Read a terminal until every process has closed it."""
    chunks = []
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # how Linux reports it
            break
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks).decode().replace("\r\n", "\n")


def picture(shown: str) -> str:
    """Return the SVG of a terminal; it loads no font from elsewhere."""
    # Without what is shown only while a step takes its time.
    text = re.sub(r"(?m)^\r.*\r\x1b\[K|^.*dev: waiting for .*\n", "", shown)
    without_tracebacks = re.sub(r"(?m)^Traceback.*\n(?:[ ].*\n)+", "", text)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(without_tracebacks))
    svg = console.export_svg(title="loafer-kit dev")
    return re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
