"""An extension with commands, as the documentation shows it."""

from collections.abc import Iterator
from typing import Any

from loafer_kit import Extension
from loafer_kit.commands import register_commands


def rocks(app: Any, *, unset: bool = False) -> Iterator[str]:
    """List the settings of the extension."""
    for name, value in app.settings.items():
        if name.startswith("FRAGGLE_") and (unset or value is not None):
            yield f"{name}={value!r}"


async def dance(partner: str, times: int = 1) -> str:
    """Dance with somebody."""
    return f"{partner}! " * times


class Fraggle(Extension):
    """Gives a service its rock."""

    DEFAULT_SETTINGS = {"FRAGGLE_ROCK": "here", "FRAGGLE_COLOUR": None}  # noqa: RUF012

    def register_cli(self) -> None:
        register_commands("fraggle", [rocks, dance], {"description": "Commands of the rock."})
