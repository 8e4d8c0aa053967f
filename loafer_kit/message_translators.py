"""Message translators turn a provider's raw message into a handler's arguments."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable

from loafer_kit.types import Message, TranslatedMessage


class AbstractMessageTranslator(ABC):
    """The contract of a message translator."""

    @abstractmethod
    def translate(self, message: Message) -> TranslatedMessage | Awaitable[TranslatedMessage]:
        """Return `{"content": …, "metadata": {…}}`; `metadata` may be left out.

        It may be a coroutine function, to fetch what the message only points to. A content of None
        means "no content": the message fails. `0`, `False`, `""`, `[]` and `{}` are content.
        """


class StringMessageTranslator(AbstractMessageTranslator):
    """Delivers `str(message)`."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the message as text, without metadata."""
        return {"content": str(message), "metadata": {}}
