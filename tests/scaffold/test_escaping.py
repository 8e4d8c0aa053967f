"""Text for a person's eyes: escaped where a terminal would obey it, or show nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.escaping import escape, escape_line

READABLE = [
    "plain ASCII ~",
    "é ß Ω ж 日本語 العربية हिन्दी",
    "a\u00a0no-break and an\u3000ideographic space",
    "→ ✓ € 🎉 ❤\ufe0f",
]


@pytest.mark.parametrize("text", READABLE)
def test_what_people_read_stays(text):
    """Of any script, symbols as well."""
    assert escape(text) == escape_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("safe\x1b[1A\x1b[2Kevil", r"safe\x1b[1A\x1b[2Kevil"),
        ("\x9b2K", r"\x9b2K"),
        ("safe\revil", r"safe\revil"),
        ("safe\b\b\b\bevil", r"safe\x08\x08\x08\x08evil"),
        ("\x00\x07\x0b\x0c\x7f\x85", r"\x00\x07\x0b\x0c\x7f\x85"),
        ("a\u202eb\u2066c\u2069", r"a\u202eb\u2066c\u2069"),
        ("a\u200bb\u200dc\ufeffd\u00ade", r"a\u200bb\u200dc\ufeffd\xade"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("a\U000e0041\U000e0100b\u3164", r"a\U000e0041\U000e0100b\u3164"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_what_a_terminal_obeys_or_does_not_show_is_escaped(text, shown):
    """Control and format characters, directions, what has no width, and what cannot be encoded."""
    assert escape(text) == escape_line(text) == shown


def test_lines_and_tabs_stay_where_there_may_be_several():
    """A line may end as Windows ends it; a carriage return alone would go over the line again."""
    assert escape("a\tb\r\nc\n\rd\n") == "a\tb\r\nc\n\\rd\n"
    assert escape_line("a\tb\r\nc\n") == r"a\tb\r\nc\n"


@given(st.text() | st.text("\r\n\t\x1b[2K é\u202e\ud800"))
def test_whatever_it_is_it_can_be_shown(text):
    """Every character that is left is printable, or one of the few that are meant to stay."""
    for shown in (escape(text), escape_line(text)):
        shown.encode()
        assert escape(shown) == shown
    assert set(escape_line(text)) & set("\r\n\t\x1b") == set()
    assert escape(text).count("\n") == text.count("\n")
