"""The last look at a file: what a parser makes of it, in a time that its maker cannot choose."""

import pytest
import yaml

from loafer_kit.scaffold.rendering import formatting


@pytest.fixture(params=["libyaml", "Python"])
def parser(request, monkeypatch):
    """PyYAML with libyaml, and as it is where that is missing."""
    if request.param == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


@pytest.mark.parametrize("text", ["[" * 20_000, "[[]," * 20_000, "{" * 20_000, "- " * 20_000])
def test_a_yaml_file_without_end_is_refused(parser, text):
    """However many lists and tables are in each other."""
    with pytest.raises(ValueError, match=r"too deep|depth"):
        formatting.finish("a.yaml", text.encode())


def test_a_yaml_file_of_some_depth_is_as_it_was(parser):
    """A parser looks at it, and changes nothing."""
    content = ("[" * 90 + "]" * 90 + "\n").encode()

    assert formatting.finish("a.yaml", content) == content
