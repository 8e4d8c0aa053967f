"""Where a running handler stands."""

import asyncio
import sys
import traceback
from typing import Any


def stack_of(task: asyncio.Task[Any] | None, thread: int | None) -> str:
    """Format the stack of a thread, or the chain of awaits of a task, outermost call first."""
    if thread is not None:
        frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented
        return "".join(traceback.format_stack(frame)) if frame else ""
    frames = []
    awaited: Any = task.get_coro() if task is not None else None
    while awaited is not None:
        frame = _attribute(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        awaited = _attribute(awaited, "cr_await", "gi_yieldfrom", "ag_await")
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


def _attribute(awaited: object, *names: str) -> Any:
    return next((getattr(awaited, name) for name in names if hasattr(awaited, name)), None)
