"""Line ends and byte order marks: whatever a file has, it keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.project.line_ends import forms, like, lines, plain, prevailing

BOM = b"\xef\xbb\xbf"

texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"\n", b"\xc3\xa9"]), max_size=8).map(b"".join)
marks = st.sampled_from([b"", BOM])


@st.composite
def files(draw):
    """A file with or without a mark, in which each line ends as somebody's editor ended it."""
    ends = st.sampled_from([b"\n", b"\r\n"])
    text = [line.replace(b"\n", draw(ends)) for line in lines(draw(texts))]
    return draw(marks) + b"".join(text)


@given(files())
def test_a_file_is_like_itself(file):
    """Its own text in its own ends is the file, byte by byte."""
    assert like(file, file) == file
    assert like(plain(file), file) == file


@given(files(), files())
def test_no_word_of_a_text_changes(content, file):
    """The same lines stand in it as before."""
    assert plain(like(content, file)) == plain(content)


@given(texts, texts, marks)
def test_all_lines_get_the_end_of_a_file_that_has_one_only(content, file, mark):
    """So does the mark at its beginning."""
    assert like(content, file) == content
    if b"\n" in file:
        crlf = mark + file.replace(b"\n", b"\r\n")
        assert like(content, crlf) == mark + content.replace(b"\n", b"\r\n")


def test_the_lines_of_a_mixed_file_keep_their_ends():
    """New ones end as most of its lines do."""
    file = b"one\r\ntwo\nthree\r\nfour\r\n"

    assert prevailing(file) == b"\r\n"
    assert like(b"zero\none\ntwo\nfour\n", file) == b"zero\r\none\r\ntwo\nfour\r\n"


@pytest.mark.parametrize(("content", "file"), [(b"\0\n", b"a\r\n"), (b"a\n", b"\0\r\n")])
def test_what_is_no_text_stays_as_it_is(content, file):
    """On either side: no byte of a picture is a line end."""
    assert like(content, file) == content
    assert list(forms(b"\0\r\n")) == [b"\0\r\n"]


def test_what_takes_no_files_place_stays_as_it_is():
    """And no content has no line ends."""
    assert like(b"a\n", None) == b"a\n"
    assert like(None, b"a\r\n") is None
