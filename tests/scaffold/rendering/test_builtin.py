"""The built-in templates in memory: what they write parses, and is as black would have it."""

import string
import sys

import black
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scaffold.any_specs import few, specs, valid

from loafer_kit.scaffold.project import projects
from loafer_kit.scaffold.rendering import answers, builtin, contexts, templates
from loafer_kit.scaffold.spec import extensions, validation
from loafer_kit.scaffold.spec.specs import Draft


def python(rendering):
    """The text of each Python file by its path."""
    files = rendering.plan.files.items()
    return {path: content.decode() for path, content in files if path.endswith(".py")}


def formatted(files):
    """The same files, formatted by black."""
    return {path: black.format_str(text, mode=black.Mode()) for path, text in files.items()}


@given(specs)
@few
def test_a_service_of_any_spec_is_formatted(values):
    """Black has nothing to change, whatever the lengths of names and values."""
    spec = valid(values)
    names = [queue.queue_name for queue in spec.queues[1:]]

    found = python(projects.builtin("service").service(spec, separate_tests=names))

    assert formatted(found) == found


setting_names = st.from_regex(r"[A-Z][A-Z0-9]{0,30}", fullmatch=True)
defaults = st.text() | st.floats().map(str) | st.integers().map(str) | st.booleans().map(str)


@given(
    st.text(string.ascii_lowercase, min_size=1, max_size=40).map("x{}".format),
    st.dictionaries(setting_names.map("A{}".format), defaults, max_size=3),
    st.lists(setting_names.map("B{}".format), max_size=3, unique=True),
    st.sampled_from(extensions.KINDS),
    st.booleans(),
)
@few
def test_any_extension_is_formatted(name, settings, required, like, cli):
    """Black has nothing to change, whatever the defaults of the settings hold."""
    pairs = [f"{key}={value}" for key, value in settings.items()]
    spec = extensions.extension(name, pairs, required, like=like, cli=cli)

    found = python(builtin.render(templates.builtin("extension"), spec))

    assert formatted(found) == found


def test_black_is_not_needed_for_lines_that_fit(monkeypatch):
    """Its import takes as long as everything else."""
    monkeypatch.setitem(sys.modules, "black", None)
    service = answers.service({"name": "foobar", "queue": "orders", "with": "ci,ecs"})
    draft = Draft({"name": "foobar", "queues": [{"name": "bills"}, {"name": "orders"}]})
    extension = extensions.extension("redis", ["URL=x"], ["PASSWORD"], consumer=True, cli=True)

    builtin.render(templates.builtin("service"), contexts.service(service))
    projects.builtin("service").service(validation.service(draft), separate_tests=["orders"])
    builtin.render(templates.builtin("extension"), extension)


@pytest.fixture(params=["libyaml", "Python"])
def parser(request, monkeypatch):
    """PyYAML with libyaml, and as it is where that is missing."""
    if request.param == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


@pytest.mark.parametrize("text", ["[" * 20_000, "[[]," * 20_000, "{" * 20_000, "- " * 20_000])
def test_a_yaml_file_without_end_is_refused(parser, text):
    """However many lists and tables are in each other."""
    with pytest.raises(ValueError, match=r"too deep|depth"):
        builtin.finish("a.yaml", text.encode())


def test_a_yaml_file_of_some_depth_is_as_it_was(parser):
    """A parser looks at it, and changes nothing."""
    content = ("[" * 90 + "]" * 90 + "\n").encode()

    assert builtin.finish("a.yaml", content) == content
