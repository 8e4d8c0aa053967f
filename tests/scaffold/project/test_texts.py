"""Line ends and byte order marks stay; three-way merges keep every edit and mark every conflict."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loafer_kit.scaffold.project.texts import (
    conflict_line,
    forms,
    like,
    lines,
    merge,
    plain,
    prevailing,
)

BOM = b"\xef\xbb\xbf"

short_texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"\n", b"\xc3\xa9"]), max_size=8).map(
    b"".join
)
marks = st.sampled_from([b"", BOM])


@st.composite
def files(draw):
    """A file with or without a mark, in which each line ends as somebody's editor ended it."""
    ends = st.sampled_from([b"\n", b"\r\n"])
    text = [line.replace(b"\n", draw(ends)) for line in lines(draw(short_texts))]
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


@given(short_texts, short_texts, marks)
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
def test_binary_content_gets_no_line_ends(content, file):
    """On either side: no byte of a picture is a line end."""
    assert like(content, file) == content
    assert list(forms(b"\0\r\n")) == [b"\0\r\n"]


def test_what_takes_no_files_place_stays_as_it_is():
    """And no content has no line ends."""
    assert like(b"a\n", None) == b"a\n"
    assert like(None, b"a\r\n") is None


BASE = b"one\ntwo\nthree\nfour\nfive\n"


def test_changes_of_different_lines_are_both_kept():
    """Neither side's is lost."""
    merged = merge(BASE, BASE.replace(b"one", b"ONE"), BASE.replace(b"five", b"FIVE"))

    assert (merged.content, merged.conflicts) == (b"ONE\ntwo\nthree\nfour\nFIVE\n", 0)


def test_the_same_change_on_both_sides_is_made_once():
    """There is nothing to decide."""
    both = BASE.replace(b"two", b"2")

    assert merge(BASE, both, both).content == both


def test_a_conflict_is_marked_as_git_marks_it():
    """The project's lines first, then the template's, without what they have in common."""
    ours = BASE.replace(b"three", b"ours\nsame")
    theirs = BASE.replace(b"three", b"theirs\nsame")

    merged = merge(BASE, ours, theirs)

    assert merged.conflicts == 1
    assert merged.content == (
        b"one\ntwo\n<<<<<<< yours\nours\n=======\ntheirs\n>>>>>>> template\nsame\nfour\nfive\n"
    )
    assert conflict_line(merged.content) is not None


def test_lines_after_an_edited_one_are_taken_in():
    """A handler that the template adds below one that was edited is no conflict."""
    merged = merge(BASE, BASE.replace(b"five", b"5\n5.5"), BASE + b"six\n")

    assert (merged.content, merged.conflicts) == (b"one\ntwo\nthree\nfour\n5\n5.5\nsix\n", 0)


def test_lines_that_both_sides_added_are_a_conflict():
    """Their order is not known, and one may be the other's."""
    assert merge(BASE, BASE + b"mine\n", BASE + b"theirs\n").conflicts == 1
    assert merge(BASE, BASE.replace(b"five", b"5\nsix"), BASE + b"six\n").conflicts == 1


def test_a_mark_stands_on_a_line_of_its_own():
    """Also where a file does not end its last line."""
    merged = merge(b"a", b"b", b"c")

    assert merged.content == b"<<<<<<< yours\nb\n=======\nc\n>>>>>>> template\n"


def test_what_is_no_text_stays_as_it_is():
    """And counts as a conflict: half of each would be neither."""
    merged = merge(b"\0a", b"\0b", b"\0c")

    assert (merged.content, merged.conflicts) == (b"\0b", 1)


texts = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n"]), max_size=8).map(b"".join)


def crlf(text):
    """A text as an editor on Windows, or git's autocrlf, writes it."""
    return text.replace(b"\n", b"\r\n")


odd_lines = st.sampled_from([b"a\n", b"b\n", b"\n", b"\rc\n", b"\xff\n"])
odd_texts = st.builds(
    bytes.__add__,
    st.lists(odd_lines, max_size=8).map(b"".join),
    st.sampled_from([b"", b"a", b"d"]),  # the last line may have no end
)


@given(odd_texts, odd_texts, odd_texts, st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_line_ends_are_no_edit(base, ours, theirs, mark):
    """A file merges alike however its lines end, and keeps its ends and its byte order mark."""
    ours = b"first\n" + ours  # a text without any line end has none to keep
    merged = merge(base, ours, theirs)
    windows = merge(base, mark + crlf(ours), theirs)

    assert windows.content == mark + crlf(merged.content)
    assert merge(crlf(base), crlf(ours), crlf(theirs)).content == crlf(merged.content)
    assert windows.conflicts == merged.conflicts
    assert (conflict_line(windows.content) is not None) == (merged.conflicts > 0)


@given(st.lists(st.sampled_from([b"a\n", b"b\r\n", b"c\n", b"\r\n"])).map(b"".join), texts)
def test_a_mixed_file_keeps_the_end_of_each_line(ours, base):
    """What was not touched ends as it did, also beside what the template brings."""
    assert merge(base, ours, base).content == ours

    lf = ours.replace(b"\r\n", b"\n")
    merged = merge(lf, ours, b"first\n" + lf + b"last\n").content
    end = b"\r\n" if 2 * ours.count(b"\r\n") > ours.count(b"\n") else b"\n"
    assert merged == b"first" + end + ours + b"last" + end


def test_the_marks_in_a_file_with_crlf_are_found_by_their_line():
    """Also where a byte order mark stands before the first."""
    merged = merge(b"a\n", b"\xef\xbb\xbfb\r\n", b"c\n")

    assert merged.content == (
        b"\xef\xbb\xbf<<<<<<< yours\r\nb\r\n=======\r\nc\r\n>>>>>>> template\r\n"
    )
    assert conflict_line(merged.content) == 1
    assert conflict_line(b"one\r\n" + merged.content[3:]) == 2


@given(texts, texts, texts)
def test_a_side_that_changed_nothing_gives_way(base, ours, theirs):
    """A merge with the base is the other side, and agreement is no conflict."""
    assert merge(base, base, theirs).content == theirs
    assert merge(base, ours, base).content == ours
    assert merge(base, ours, ours).content == ours


@given(texts, texts, texts)
def test_what_stands_between_the_marks_is_one_side_or_the_other(base, ours, theirs):
    """Choosing every first half, every line that the project added is there; likewise the other."""
    merged = merge(base, ours, theirs)
    assert (merged.conflicts > 0) == (conflict_line(merged.content) is not None)
    for side, first, second in ((ours, True, False), (theirs, False, True)):
        lines = _chosen(merged.content, first=first, second=second)
        for line in set(side.splitlines()):
            added = side.splitlines().count(line) > base.splitlines().count(line)
            assert not added or line in lines


def _chosen(content, *, first, second):
    wanted, lines = True, []
    for line in content.splitlines():
        if line.startswith(b"<<<<<<<"):
            wanted = first
        elif line.startswith(b"======="):
            wanted = second
        elif line.startswith(b">>>>>>>"):
            wanted = True
        elif wanted:
            lines.append(line)
    return lines


def test_an_appended_line_is_not_glued_to_an_edited_last_one():
    """Whichever side lacks the line end."""
    assert merge(b"a\nb\n", b"a\nB", b"a\nb\nc\n").content == b"a\nB\nc\n"
    assert merge(b"a\nb\n", b"a\nB", b"a\nb\nc").content == b"a\nB\nc"
    assert merge(b"a\nb", b"a\nb\nc", b"A\nb").content == b"A\nb\nc"
    assert merge(b"a\nb\nc\n", b"a\nb\nc", b"A\nb\nc\n").content == b"A\nb\nc"


@given(odd_texts, odd_texts, odd_texts)
def test_a_merge_has_no_line_that_no_side_has(base, ours, theirs):
    """Apart from the marks."""
    known = {line for side in (base, ours, theirs) for line in side.split(b"\n")}
    marks = {b"<<<<<<< yours", b"=======", b">>>>>>> template", b""}

    assert set(merge(base, ours, theirs).content.split(b"\n")) <= known | marks


edits = st.lists(
    st.tuples(st.sampled_from(["insert", "replace", "delete"]), st.integers(0, 9)), max_size=3
)


def edited(edits, by):
    lines = [f"line {number}" for number in range(10)]
    for turn, (kind, at) in enumerate(edits):
        lines[at : at + (kind != "insert")] = [] if kind == "delete" else [f"{by} {turn}"]
    return "".join(f"{line}\n" for line in lines).encode()


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
@given(edits, edits, st.tuples(st.booleans(), st.booleans(), st.booleans()))
@settings(deadline=None, max_examples=80)
def test_what_git_can_merge_is_merged_alike(tmp_path_factory, ours, theirs, ends):
    """Byte by byte; a merge that git leaves to a person may still be one that we can do."""
    contents = [edited(ours, "ours"), edited([], ""), edited(theirs, "theirs")]
    contents = [
        text if has_end else text.removesuffix(b"\n")
        for text, has_end in zip(contents, ends, strict=True)
    ]
    folder = tmp_path_factory.mktemp("git")
    for name, content in zip(("yours", "base", "template"), contents, strict=True):
        (folder / name).write_bytes(content)

    done = subprocess.run(
        ["git", "merge-file", "-p", "yours", "base", "template"],
        cwd=folder,
        check=False,
        capture_output=True,
    )

    merged = merge(contents[1], contents[0], contents[2])
    if done.returncode == 0:
        assert (merged.content, merged.conflicts) == (done.stdout, 0)


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_git_merges_alike(tmp_path):
    """The same result for a file with a change on each side and a conflict."""
    ours = BASE.replace(b"one", b"ONE").replace(b"three", b"ours")
    theirs = BASE.replace(b"three", b"theirs").replace(b"five", b"FIVE")
    for name, content in {"yours": ours, "base": BASE, "template": theirs}.items():
        (tmp_path / name).write_bytes(content)

    done = subprocess.run(
        ["git", "merge-file", "-p", "yours", "base", "template"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
    )

    assert merge(BASE, ours, theirs).content == done.stdout
