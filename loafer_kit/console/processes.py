"""Processes: what running services say over their control sockets, and what they are told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loafer_kit.console.queues import Queue
from loafer_kit.exceptions import LoaferKitError
from loafer_kit.operations import control

#: The messages that a page shows.
_MOST_RECENT = 200


@dataclass(frozen=True, slots=True)
class Service:
    """A service that the console shows; `control` is the path of its control socket."""

    name: str
    queues: Sequence[Queue]
    control: Path


async def look(services: Sequence[Service]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what each service does now, and the last messages of all, the newest first."""
    answers = await asyncio.gather(*map(_look, services))
    recent = [
        {**message, "service": service.name}
        for service, (_, messages) in zip(services, answers, strict=True)
        for message in messages
    ]
    recent.sort(key=lambda message: float(message["time"]), reverse=True)
    return [status for status, _ in answers], recent[:_MOST_RECENT]


async def _look(service: Service) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        status = await control.ask(service.control, "status")
        recent = await control.ask(service.control, "recent")
    except LoaferKitError as error:
        return {"service": service.name, "error": str(error), "status": None}, []
    return {"service": service.name, "error": None, "status": status}, recent
