"""What the extension opens and closes."""

{% if cookiecutter.consumer %}
import asyncio
{% endif %}
from collections.abc import Mapping
from typing import Any


class Connection:
    """A connection as the settings describe it.

{% if cookiecutter.consumer %}
    TODO: connect to the real thing; until then messages are kept in memory.
{% else %}
    TODO: connect to the real thing in `open`, and give it methods.
{% endif %}
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.is_open = False
{% if cookiecutter.consumer %}
        self.unacknowledged: list[Any] = []
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
{% endif %}

    async def open(self) -> None:
        """Connect."""
        self.is_open = True

    async def close(self) -> None:
        """Disconnect."""
        self.is_open = False
{% if cookiecutter.consumer %}

    def send(self, message: Any) -> None:
        """Send a message; None says that there will be no more."""
        self._messages.put_nowait(message)

    async def receive(self) -> Any:
        """Return the next message, or None when there will be none; wait for it."""
        message = await self._messages.get()
        if message is not None:
            self.unacknowledged.append(message)
        return message

    async def acknowledge(self, message: Any) -> None:
        """Say that a message is done with."""
        self.unacknowledged.remove(message)
{% endif %}
