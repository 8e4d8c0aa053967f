"""The contract between a provider's raw message and a handler."""

from abc import ABC, abstractmethod

from loafer_kit.types import Message, TranslatedMessage


class AbstractMessageTranslator(ABC):
    """Turns a raw message into what the handler takes."""

    @abstractmethod
    def translate(self, message: Message) -> TranslatedMessage:
        """Return `{"content": …, "metadata": {…}}`; `metadata` may be left out.

        A content of None means "no content" and fails the message; `0`, `False`, `""`, `[]` and
        `{}` are content.
        """


class StringMessageTranslator(AbstractMessageTranslator):
    """Delivers `str(message)`."""

    def translate(self, message: Message) -> TranslatedMessage:
        """Return the message as text, without metadata."""
        return {"content": str(message), "metadata": {}}
