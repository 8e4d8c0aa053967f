"""Text for a person's eyes, whoever wrote it: nothing in it moves a cursor or cannot be seen."""

import re

#: Spaces that people write, and that Python calls unprintable.
_SPACES = "\u00a0\u202f\u3000"
# Marks and letters without a width of their own, which count as printable all the same.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
_BREAKS = re.compile(r"(\r\n|\n|\t)")


def harmless(text: str) -> str:
    """The text with every character escaped that a terminal obeys or does not show.

    Those are control and format characters, those that turn the direction of writing, separators of
    lines and halves of surrogates. Tabs, line ends and whatever people read stay: letters of any
    script, symbols, spaces.
    """
    parts = _BREAKS.split(text)
    return "".join(part if _BREAKS.fullmatch(part) else in_one_line(part) for part in parts)


def in_one_line(text: str) -> str:
    """The same with tabs and line ends escaped too: nothing passes for a line of its own."""
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(
        character if _is_seen(character) else ascii(character)[1:-1] for character in text
    )


def _is_seen(character: str) -> bool:
    is_shown = character.isprintable() and not _UNSEEN.match(character)
    return is_shown or character in _SPACES
