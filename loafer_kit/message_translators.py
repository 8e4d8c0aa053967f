"""Message translators turn a provider's raw message into a handler's arguments."""

from abc import ABC, abstractmethod

from loafer_kit.types import Message, TranslatedMessage


class AbstractMessageTranslator(ABC):
    """The contract of a message translator."""

    @abstractmethod
    def translate(self, message: Message) -> TranslatedMessage:
        """Return `{"content": …, "metadata": {…}}`; `metadata` may be left out.

        A content of None means "no content": the message fails. `0`, `False`, `""`, `[]` and `{}`
        are content.
        """


class StringMessageTranslator(AbstractMessageTranslator):
    """Delivers `str(message)`."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the message as text, without metadata."""
        return {"content": str(message), "metadata": {}}
