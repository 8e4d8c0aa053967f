"""Whoever reads an event in a log finds it in the documentation."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))

_EVENT = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")
_LOGGING = {"log_event", "_log", "_log_stack", "_report", "_warn"}


def _events(call):
    """The events that a call logs at INFO or above."""
    name = ast.unparse(call.func).rpartition(".")[2]
    words = [ast.unparse(argument) for argument in call.args]
    if name == "debug" or "logging.DEBUG" in words:
        return
    texts = call.args if name in _LOGGING else []
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            texts = [*texts, *keyword.value.values]
    for text in texts:
        if isinstance(text, ast.Constant) and _EVENT.fullmatch(str(text.value)):
            yield text.value


def test_every_event_is_described():
    """Those at DEBUG are for the developers of loafer_kit."""
    events = set()
    for path in (ROOT / "loafer_kit").rglob("*.py"):
        calls = (
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        )
        events |= {event for call in calls for event in _events(call)}

    assert len(events) > 70
    assert sorted(event for event in events if f"`{event}`" not in PAGES) == []
