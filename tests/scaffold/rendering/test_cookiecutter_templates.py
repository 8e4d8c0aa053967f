"""Plain cookiecutter templates: what cookiecutter makes of them, loafer_kit makes as well."""

import json
import os
import warnings

import pytest
from cookiecutter.generate import generate_context, generate_files
from cookiecutter.prompt import prompt_for_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scaffold.own_templates import PROJECT, load, rendered, write

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering import render


def of_cookiecutter(template, output, given):
    """Every file that cookiecutter makes without asking, by its path from the output folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it deprecates is its own affair
        context = generate_context(str(template / "cookiecutter.json"), extra_context=given)
        context["cookiecutter"] = prompt_for_config(context, no_input=True)
        generate_files(str(template), context, str(output), accept_hooks=False)
    return {
        path.relative_to(output).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def of_loafer_kit(template, given):
    """The same of loafer_kit."""
    context = {"name": given.get("project_name", "foobar"), "package": "foobar", "queues": []}
    others = {key: value for key, value in given.items() if key != "project_name"}
    made = render.render(load(template), context, answers=others)
    return {
        f"{made.folder}/{path}": (content, path in made.plan.executables)
        for path, content in made.plan.files.items()
    }


def test_the_features_of_cookiecutter_s_templates(tmp_path):
    """Choices, truths, tables, private and raw variables, copies, binary files, modes, includes."""
    variables = {
        "project_name": "My Thing",
        "slug": "{{ cookiecutter.project_name|lower|replace(' ', '_') }}",
        "license": ["MIT", "BSD-{{ cookiecutter.slug }}"],
        "with_docs": True,
        "port": 8080,
        "nothing": None,
        "table": {"a": {"b": "{{ cookiecutter.slug }}"}, "c": ["{{ cookiecutter.port }}", 1]},
        "__upper": "{{ cookiecutter.slug|upper }}",
        "_raw": "{{ cookiecutter.slug }}",
        "__prompts__": {"license": "Which licence?"},
        "_copy_without_render": ["*.raw", "static", "other/deep"],
        "_jinja2_env_vars": {"lstrip_blocks": True, "trim_blocks": True},
        "_extensions": ["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    }
    files = {
        "README.md": "{{ cookiecutter.project_name }} {{ cookiecutter.license }}\n"
        "{% if cookiecutter.with_docs %}\ndocs {{ cookiecutter.port }}\n{% endif %}\n"
        "{{ cookiecutter.table|jsonify }} {{ cookiecutter.__upper }} {{ cookiecutter._raw }}"
        "{{ 'Ä b'|slugify }}{% set x = [] %}{% do x.append(1) %}{{ x }}",
        "no-end-of-line": "x",
        "empty": "",
        "crlf.txt": b"{{ cookiecutter.slug }}\r\nb\r\n",
        "picture.png": b"\x89PNG\r\n\x1a\n\0{{ cookiecutter.slug }}",
        "a.raw": "{{ as it is }}",
        "static/{{ x }}/b.txt": "{{ as it is }}",
        "other/deep/c.txt": "{% as it is",
        "{{cookiecutter.slug}}/{{cookiecutter.port}}.py": "x = {{ cookiecutter.port }}",
        "{% if cookiecutter.with_docs %}docs.md{% endif %}": "docs",
        "{% if not cookiecutter.with_docs %}no-docs.md{% endif %}": "no docs",
        "include.txt": "{% include 'part.txt' %}|{% include 'README.md' %}",
        "run.sh": "#!/bin/sh\n",
    }
    template = write(tmp_path / "template", files, variables)
    (template / "templates").mkdir()
    (template / "templates/part.txt").write_text("part of {{ cookiecutter.slug }}")
    (template / PROJECT / "run.sh").chmod(0o755)
    given = {"project_name": "Other Thing", "license": "BSD-other_thing", "with_docs": "no"}

    for number, answers in enumerate([{"project_name": "My Thing"}, given]):
        if answers is given:  # cookiecutter knows the choices only as they are written
            answers = {**given, "license": "MIT"}  # noqa: PLW2901
        output = tmp_path / f"out{number}"
        output.mkdir()
        assert of_loafer_kit(template, answers) == of_cookiecutter(template, output, answers)


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
pieces = st.sampled_from(
    [
        "{{ cookiecutter.project_name }}",
        "{{cookiecutter.kind}}",
        "{% if cookiecutter.flag %}yes{% else %}no{% endif %}",
        "{% for n in range(2) %}\n{{ n }}{% endfor %}",
        "{# a comment #}",
        "\n",
        "\r\n",
        "text",
        "ünïcode",
        "{% raw %}{{ x }}{% endraw %}",
    ]
)
texts = st.lists(pieces, max_size=6).map("".join)
paths = st.lists(
    names
    | st.just("{{cookiecutter.kind}}")
    | st.builds("{{{{cookiecutter.kind}}}}{}".format, names),
    min_size=1,
    max_size=3,
).map("/".join)


@given(
    st.dictionaries(paths, texts | st.binary(max_size=20), min_size=1, max_size=5),
    st.sampled_from(["x", "a b", "a'b }}", "Ä"]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_template_gives_what_cookiecutter_makes_of_it(
    tmp_path_factory, files, name, flag, trim
):
    """Byte by byte. Values that look like templates are left out: cookiecutter runs them."""
    folders = {part for path in files for part in _above(path)}
    files = {path: content for path, content in files.items() if path not in folders}
    if (
        not files
        or len({path.lower() for path in files}) < len(files)
        or not all(map(_is_text, files.values()))
    ):
        return
    root = tmp_path_factory.mktemp("any")
    variables = {
        "project_name": "x",
        "kind": ["one", "two"],
        "flag": flag,
        "_jinja2_env_vars": {"trim_blocks": trim},
    }
    template = write(root / "template", files, variables, "project-{{cookiecutter.kind}}")
    (root / "out").mkdir()
    given = {"project_name": name, "kind": "two"}

    assert of_loafer_kit(template, given) == of_cookiecutter(template, root / "out", given)


def _above(path):
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _is_text(content):
    """What is no UTF-8 cookiecutter guesses about."""
    try:
        return "\0" not in (content if isinstance(content, str) else content.decode())
    except UnicodeDecodeError:
        return False


def test_a_folder_whose_name_is_empty_is_left_out(tmp_path):
    """With all that is in it: cookiecutter itself cannot do that."""
    template = write(
        tmp_path,
        {"{% if cookiecutter.slug == 'x' %}docs{% endif %}/index.md": "docs", "a": "a"},
    )

    assert rendered(template) == {"a": "a"}
    assert rendered(template, answers={"slug": "x"}) == {"a": "a", "docs/index.md": "docs"}


def test_the_name_of_the_service_is_that_of_the_project(tmp_path):
    """What else a plain template declares is its own, though a spec has the same word."""
    variables = {"project_name": "x", "name": "theirs", "version": "9"}
    text = "{{ cookiecutter.project_name }} {{ cookiecutter.name }} {{ cookiecutter.version }}"
    template = write(tmp_path, {"a": text}, variables, "{{cookiecutter.name}}")

    assert rendered(template) == {"a": "foobar theirs 9"}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"slugg": "x"}, "the template has no variable 'slugg'; did you mean 'slug'?"),
        ({"color": "x"}, "the template has no variable 'color'; it has slug, kind, flag, table"),
        ({"kind": "three"}, "kind: 'three' is none of one, two"),
        ({"flag": "perhaps"}, "flag: 'perhaps' must be yes or no"),
        ({"table": "[1]"}, "table: '[1]' must be a table in JSON"),
        ({"table": "{"}, "table: '{' must be a table in JSON"),
        ({"slug": ["x"]}, "slug: \"['x']\" must be a text"),
        ({"project_name": "x"}, "'project_name' comes from the spec"),
        ({"_private": "x"}, "the template has no variable '_private'"),
    ],
)
def test_an_answer_that_cannot_be_is_one_line(tmp_path, answers, message):
    """It names the template, the variable and what it may be."""
    variables = {
        "project_name": "x",
        "slug": "x",
        "kind": ["one", "two"],
        "flag": True,
        "table": {"a": 1},
        "_private": 1,
    }
    template = write(tmp_path, {"a": "a"}, variables)

    with pytest.raises(ConfigurationError) as caught:
        rendered(template, answers=answers)
    assert str(caught.value).startswith(f"{template}: {message}")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": "1\n{{ cookiecutter.nme }}"}, "a.txt:2: UndefinedError: 'dict object' has no"),
        ({"a.txt": "1\n2\n{% if %}"}, "a.txt:3: TemplateSyntaxError: "),
        ({"a.txt": "{{ 1 / 0 }}"}, "a.txt:1: ZeroDivisionError: division by zero"),
        ({"{{cookiecutter.nme}}": ""}, "<template>:1: UndefinedError: "),
        ({"a.txt": "{% include 'b' %}"}, "a.txt:1: TemplateNotFound: b"),
    ],
)
def test_what_is_wrong_with_a_template_is_one_line(tmp_path, files, message):
    """With its place."""
    template = write(tmp_path, files)

    with pytest.raises(ConfigurationError) as caught:
        rendered(template)
    assert str(caught.value).startswith(f"{template}: {message}")
    assert "\n" not in str(caught.value)


def test_a_template_for_loafer_kit_gets_the_whole_spec_and_is_formatted(tmp_path):
    """A plain one is left as its author wrote it, whatever it holds."""
    files = {"a.py": "x = {{ cookiecutter.queues }}\nx  =  1", "b.toml": "= no toml"}
    plain = write(tmp_path / "plain", files, {"queues": "x", "slug": "x"})
    assert rendered(plain)["a.py"] == "x = x\nx  =  1"

    files.pop("b.toml")
    ours = write(tmp_path / "ours", files, {"slug": "x", "_loafer_kit": "service"})
    assert rendered(ours)["a.py"] == "x = []\nx = 1\n"


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("a.py", "x = (", "a.py: SyntaxError: "),
        ("a.toml", "x = ", "a.toml: TOMLDecodeError: "),
        ("a.yaml", "[", "a.yaml: ValueError: "),
    ],
)
def test_a_file_that_does_not_parse_is_one_line(tmp_path, path, content, message):
    """Of a template for loafer-kit, in which that is looked at."""
    template = write(tmp_path, {path: content}, {"slug": "x", "_loafer_kit": "service"})

    with pytest.raises(ConfigurationError) as caught:
        rendered(template)
    assert str(caught.value).startswith(f"{template}: {message}")
    assert "\n" not in str(caught.value)


def test_variables_are_asked_for_in_their_order(tmp_path):
    """With what stands before them filled in; those that were answered are not asked for."""
    variables = {"project_name": "x", "slug": "{{ cookiecutter.project_name }}-1"}
    variables |= {"kind": ["{{ cookiecutter.slug }}", "two"], "flag": False, "_no": "x"}
    variables["__prompts__"] = {"slug": "A short name", "kind": {"__prompt__": "Which?"}}
    template = write(tmp_path, {"a": json.dumps("{{ cookiecutter.kind }}")}, variables)
    asked = []

    def ask(variable):
        asked.append((variable.name, variable.default, variable.question, variable.choices))
        return "typed" if variable.name == "slug" else variable.default

    made = rendered(template, answers={"flag": "yes"}, ask=ask)

    assert asked == [
        ("slug", "foobar-1", "A short name", ()),
        ("kind", "typed", "Which?", ("typed", "two")),
    ]
    assert made == {"a": '"typed"'}
