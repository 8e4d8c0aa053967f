"""Where custom templates come from, as a person or a lock names it."""

import pytest
from scaffold.custom_templates import load

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering import templates


@pytest.mark.parametrize(
    "reference",
    [
        "git+ext::sh -c id",
        "git+https://x/\x1b[2J",
        "ext::sh -c id",
        "git+-oProxyCommand=id",
        "http://example.invalid/x.git",
        "git://example.invalid/x.git",
        "git+fd::7",
        "https://user:password@example.invalid/x.git",
        "https://password@example.invalid/x.git",
        "git+HTTPS://password@example.invalid/x.git",
        "http://password@example.invalid/x.git",
        "ssh://user:password@example.invalid/x.git",
        "https://password@[x",
        "https://" + "x" * 200_000,
        "git+./" + "x" * 200_000,
        "x" * 300,
        "./" + "x" * 300,
        "./x\udcff",
    ],
)
def test_a_place_that_is_never_fetched(reference):
    """It would run something, can be read by others, or leave a password in the lock."""
    with pytest.raises(ConfigurationError) as caught:
        load(reference)
    assert "password@" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("reference", ["ssh://git@example.invalid/x", "git@example.invalid:x"])
def test_as_whom_ssh_logs_in_is_no_secret(reference):
    """It is part of what such a place is called."""
    assert templates.named(reference).reference == reference


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("gh:user/x", "https://github.com/user/x.git"),
        ("gl:user/x", "https://gitlab.com/user/x.git"),
        ("bb:user/x", "https://bitbucket.org/user/x"),
        ("zz:user/x", "./zz:user/x"),
        ("gh:", "gh:"),
    ],
)
def test_an_abbreviation_of_cookiecutter_s_is_a_url(reference, place):
    """Any other word before a colon is part of a path."""
    assert templates.named(reference).reference == place


@pytest.mark.parametrize("reference", ["../x", "x", "git+https://example.invalid/x"])
@pytest.mark.parametrize("word", ["-x", "a\0b", "a\udcff", "a\x1b[2J", "a\u200bb", "x" * 200_000])
def test_what_a_lock_says_of_a_place_is_sane(reference, word):
    """Whatever kind of place it is."""
    for origin in (
        templates.Origin(reference, directory=word),
        templates.Origin(reference, commit=word),
        templates.Origin(reference + word.removeprefix("-x")),
        templates.Origin("git+https://example.invalid/x", checkout=word),
    ):
        if origin != templates.Origin(reference):
            with pytest.raises(
                ConfigurationError, match=r"is not a commit|neither a rev|cannot name"
            ):
                templates.refuse_unsafe(origin)


@pytest.mark.parametrize("commit", ["", "abc", "0" * 39, "0" * 65, "g" * 40, "A" * 40])
def test_a_commit_in_a_lock_is_one(commit):
    """It is shown to people."""
    with pytest.raises(ConfigurationError, match="is not a commit"):
        templates.refuse_unsafe(templates.Origin("../x", commit=commit))
    templates.refuse_unsafe(templates.Origin("../x", commit="0a" * 20))


def test_a_lock_cannot_name_a_place_that_runs_something():
    """What is refused on the command line is refused in a project of somebody else's."""
    with pytest.raises(ConfigurationError, match="a template is fetched by"):
        templates.refuse_unsafe(templates.Origin("git+ext::sh -c id"))
