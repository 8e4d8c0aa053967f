"""The connection that the extension opens and closes."""

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
        """Send a message; None marks the end."""
        self._messages.put_nowait(message)

    async def receive(self) -> Any:
        """Wait for the next message and return it; None means the end."""
        message = await self._messages.get()
        if message is not None:
            self.unacknowledged.append(message)
        return message

    async def acknowledge(self, message: Any) -> None:
        """Acknowledge a message."""
        self.unacknowledged.remove(message)
{% endif %}
