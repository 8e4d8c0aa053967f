"""Escapes text from templates, documents and code before a person reads it.

A terminal obeys nothing in escaped text, and every character of it can be seen.
"""

import re

#: Spaces that people write, although Python calls them unprintable.
_SPACES = "\u00a0\u202f\u3000"
# Marks and letters without a width of their own, although Python calls them printable.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
_BREAKS = re.compile(r"(\r\n|\n|\t)")
_LONGEST_QUOTE = 60


def escape(text: str) -> str:
    """Escape every character that a terminal obeys or does not show.

    These are control and format characters, those that change the direction of writing, line
    separators and halves of surrogates. Tabs, line ends, letters of any script, symbols and
    spaces stay.
    """
    parts = _BREAKS.split(text)
    return "".join(part if _BREAKS.fullmatch(part) else escape_line(part) for part in parts)


def escape_line(text: str) -> str:
    """Escape tabs and line ends as well, so that the result is one line."""
    if text.isprintable() and not _UNSEEN.search(text):
        return text
    return "".join(
        character if _is_seen(character) else ascii(character)[1:-1] for character in text
    )


def quoted(text: str) -> str:
    """Return the text in quotes, as ASCII, shortened to fit into a line."""
    return ascii(text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 3] + "...")


def _is_seen(character: str) -> bool:
    is_shown = character.isprintable() and not _UNSEEN.match(character)
    return is_shown or character in _SPACES
