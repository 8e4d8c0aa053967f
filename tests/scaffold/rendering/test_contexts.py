"""From a spec to the files of a project, in memory."""

import ast
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scaffold.any_specs import few, identifiers, queue_names, specs, valid

from loafer_kit.config import ROUTE_OPTIONS
from loafer_kit.operations import probe
from loafer_kit.scaffold.rendering import builtin, contexts, templates
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import fields, names, validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

FILES = [
    ".dockerignore",
    ".gitignore",
    "Dockerfile",
    "README.md",
    "__main__.py",
    "foobar/__init__.py",
    "foobar/__main__.py",
    "foobar/handlers.py",
    "foobar/py.typed",
    "foobar/routes.py",
    "loafer.toml",
    "pyproject.toml",
    "tests/test_handlers.py",
    "tests/test_routes.py",
    "tests/test_service.py",
]


def spec(*queues, name="foobar", **more):
    return validation.service(Draft({"name": name, "queues": list(queues), **more}))


def rendered(*queues, **more):
    service = spec(*queues, **more)
    plan = builtin.render(templates.builtin("service"), contexts.service(service)).plan
    return {path: content.decode() for path, content in plan.files.items()}


def test_the_files_of_a_service():
    """The package, its tests, and what runs and ships it."""
    assert list(rendered({"name": "loafer-test"})) == FILES


def test_many_queues_are_counted_in_a_sentence():
    """A few are named."""
    few = rendered({"name": "orders"}, {"name": "bills"}, {"name": "news"})
    many = rendered(*({"name": f"orders-{n}"} for n in range(30)))

    assert few["foobar/__init__.py"].startswith(
        '"""foobar: handles the messages of the queues orders, bills and news."""'
    )
    assert many["foobar/__init__.py"].startswith('"""foobar: handles the messages of 30 queues."""')


def test_translators_have_a_file_when_a_queue_names_one():
    """Not otherwise."""
    project = rendered({"name": "a", "translator": "Plain"})

    assert list(project) == sorted([*FILES, "foobar/translators.py"])
    assert "class Plain(AbstractMessageTranslator)" in project["foobar/translators.py"]


def test_nothing_that_was_not_asked_for():
    """One plain queue: no dead-letter queue, no topic, no error handler, no order, no translator."""
    text = "\n".join(rendered({"name": "loafer-test"}).values()).lower()

    for word in ("dead", "reject", "sns", "topic", "error_handler", "fifo", "group", "translator"):
        assert word not in text


def test_every_option_reaches_the_route():
    """Receive options and keywords, under the names that the runtime knows."""
    queue = {
        "name": "a",
        "wait_time": 3,
        "batch_size": 5,
        "visibility_timeout": 60,
        "concurrency": 20,
        "handler_timeout": 1.5,
        "dead_letter_queue": "b",
        "error_handler": "on_error",
        "translator": "none",
    }
    (call,) = (
        node
        for node in ast.walk(ast.parse(rendered(queue)["foobar/routes.py"]))
        if isinstance(node, ast.Call)
    )

    assert [ast.unparse(argument) for argument in call.args] == [
        "'a'",
        "{'options': {'WaitTimeSeconds': 3, 'MaxNumberOfMessages': 5, 'VisibilityTimeout': 60}}",
    ]
    assert {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords} == {
        "handler": "handlers.handle_a",
        "error_handler": "handlers.on_error",
        "message_translator": "None",
        "concurrency": "20",
        "handler_timeout": "1.5",
        "dead_letter_queue": "'b'",
    }


def test_a_service_has_the_name_of_its_project():
    """Its log, its pages and its metrics tell it, with the version of that distribution."""
    project = rendered({"name": "a"}, name="9.Foo_Bar", package="foobar")

    assert 'LoaferManager(routes=routes.routes, name="9.Foo_Bar")' in project["foobar/__init__.py"]
    assert tomllib.loads(project["pyproject.toml"])["project"]["name"] == "9.Foo_Bar"


def test_the_docker_image_runs_python_itself_without_root():
    """SIGTERM reaches Python: no shell stands in between."""
    lines = rendered({"name": "a"})["Dockerfile"].splitlines()

    assert 'CMD ["python", "-m", "foobar"]' in lines
    assert "USER service" in lines
    assert re.fullmatch(r"FROM python:3\.\d+-slim", lines[0])


def test_the_docker_image_has_a_health_file_in_memory_and_asks_for_it():
    """By a command that the image has; a restart is asked for only when it helps."""
    lines = rendered({"name": "a"})["Dockerfile"].splitlines()
    (check,) = (line for line in lines if line.startswith("HEALTHCHECK "))

    assert f"ENV {probe.HEALTH_VARIABLE}=/dev/shm/foobar.health" in lines
    assert json.loads(check.partition(" CMD ")[2]) == ["loafer-kit", "health", "--live"]
    assert re.findall(r"--(\S+)=", check) == ["interval", "timeout", "start-period"]


def test_an_edit_of_the_code_leaves_the_images_dependencies_as_they_are(tmp_path):
    """They are installed before the code: a lock if there is one, else what pyproject.toml says."""
    model = {"Order": {"number": "int"}}
    project = rendered({"name": "a", "payload": "Order"}, payloads=model)
    steps = project["Dockerfile"].replace("\\\n", "").splitlines()
    (step,) = (step for step in steps if "pip install" in step)
    (tmp_path / "pyproject.toml").write_text(project["pyproject.toml"])
    (tmp_path / "pip").write_text('#!/bin/sh\ncat "$4" > installed\n')
    (tmp_path / "pip").chmod(0o700)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    line = step.removeprefix("RUN ")

    subprocess.run(["sh", "-c", line], cwd=tmp_path, env={"PATH": path}, check=True)

    (tmp_path / "requirements.txt").write_text("a==1\n")
    declared_only = (tmp_path / "installed").read_text()
    subprocess.run(["sh", "-c", line], cwd=tmp_path, env={"PATH": path}, check=True)
    assert (tmp_path / "installed").read_text() == "a==1\n"

    declared = tomllib.loads(project["pyproject.toml"])["project"]["dependencies"]
    assert declared_only.splitlines() == declared
    assert steps.index(step) < steps.index("COPY foobar ./foobar")
    assert "README.md" not in project[".dockerignore"]


def test_a_service_declares_what_it_imports():
    """Models and their tests import pydantic; a service without them does not."""

    def declared(project):
        listed = tomllib.loads(project["pyproject.toml"])["project"]["dependencies"]
        return [requirement.partition(">")[0] for requirement in listed]

    model = {"Order": {"number": "int"}}

    assert declared(rendered({"name": "a"})) == ["loafer-kit"]
    assert declared(rendered({"name": "a", "payload": "Order"}, payloads=model)) == [
        "loafer-kit",
        "pydantic",
    ]


def test_no_compiled_module_is_carried_into_a_project(tmp_path):
    """An installer compiles the template's modules; the project gets none of that."""
    template = tmp_path / "service"
    shutil.copytree(templates.locate("service"), template)
    cache = template / "{{cookiecutter.package}}/tests/__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "test_handlers.cpython-311.pyc").write_bytes(b"\0")

    plan = builtin.render(templates.read(template), contexts.service(spec({"name": "a"}))).plan

    assert list(plan.files) == FILES


def test_the_hooks_of_a_template_do_not_run(tmp_path):
    """Rendering runs no code of the template's."""
    template = tmp_path / "service"
    shutil.copytree(templates.locate("service"), template)
    (template / "hooks/pre_gen_project.py").write_text("raise SystemExit('ran')")

    assert builtin.render(templates.read(template), contexts.service(spec({"name": "a"})))


def test_line_ends_do_not_depend_on_the_checkout(tmp_path):
    """A template with other line ends gives the same bytes."""
    template = tmp_path / "service"
    shutil.copytree(templates.locate("service"), template)
    for file in template.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))

    context = contexts.service(spec({"name": "a"}))

    made = builtin.render(templates.read(template), context).plan

    assert made == builtin.render(templates.builtin("service"), context).plan


@pytest.mark.slow
@given(specs)
@few
def test_the_project_keeps_the_spec_it_was_made_from(tmp_path_factory, values):
    """Reading `loafer.toml` gives the spec again, and making the project again the same bytes."""
    service = valid(values)
    plan = builtin.render(templates.builtin("service"), contexts.service(service)).plan
    kept = tmp_path_factory.mktemp("kept") / "loafer.toml"
    kept.write_bytes(plan.files["loafer.toml"])

    again = validation.service(documents.read(kept))

    assert again == service
    assert builtin.render(templates.builtin("service"), contexts.service(again)).plan == plan
    assert tomllib.loads(plan.files["pyproject.toml"].decode())["project"]["name"] == service.name


hostile = st.text() | st.sampled_from(
    ["'", '"', '"""', "\\", "\n", "\u2028", "{{ 7*7 }}", "{% x %}", "../x", "/etc/x", "a'b", "${x}"]
)


@given(
    st.builds(
        lambda base, key, value: base | {key: value},
        st.fixed_dictionaries({"name": queue_names}),
        st.sampled_from(sorted(field.name for field in fields.QUEUE)),
        hostile | st.builds("{}{}".format, identifiers, hostile),
    )
)
@few
def test_no_hostile_value_reaches_a_file(queue):
    """It is refused, or means what it says: everything parses and nothing was evaluated."""
    try:
        service = spec(queue)
    except SpecError:
        return
    plan = builtin.render(templates.builtin("service"), contexts.service(service)).plan
    for path, content in plan.files.items():
        assert content.isascii()
        assert all(character >= 32 or character == 10 for character in content)
        assert b"{{" not in content
        if path.endswith(".py"):
            ast.parse(content)
    assert json.loads(json.dumps(tomllib.loads(plan.files["loafer.toml"].decode())))
    assert names.queue_or_url(service.queues[0].name) is None


def test_a_handler_that_is_not_written_yet_logs_what_it_deletes(caplog):
    """Nothing vanishes unread."""
    project = rendered({"name": "orders"})
    module = {"__name__": "foobar.handlers"}
    exec(project["foobar/handlers.py"], module)  # noqa: S102 - our own template

    assert asyncio.run(module["handle_orders"]({"number": 7}, {})) is True

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "handle_orders is not written yet: deleted {'number': 7}"


def test_the_tests_of_the_routes_assert_every_limit_that_a_route_keeps():
    """`contexts` lists them itself, because it does not import the runtime."""
    ours = {field.name for field in fields.OPTIONS}

    assert set(contexts.LIMITS) == ours & ROUTE_OPTIONS
    text = rendered({"name": "orders", "concurrency": 3})["tests/test_routes.py"]
    assert 'options["orders"].concurrency == 3\n' in text
    assert 'options["orders"].handler_timeout == 60\n' in text


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ({"name": "a"}, []),
        ({"name": "a", "payload": "Order"}, []),
        ({"name": "a", "payload": "Order", "dead_letter_queue": "d"}, ["misfit"]),
        ({"name": "a.fifo"}, ["messages_in_order"]),
    ],
)
def test_the_service_is_tested_for_what_its_queues_promise(queue, expected):
    """Misfits are dead-lettered where there is such a queue, a FIFO queue keeps order."""
    text = rendered(queue, payloads={"Order": {"number": "int"}})["tests/test_service.py"]

    found = re.findall(r"def test_handle_a_gets_(?:no_)?(\w+)\(", text)
    assert found == expected
    assert ('counts("d").total == 0' in text) == ("dead_letter_queue" in queue)


def test_a_topic_by_name_and_by_arn_gets_one_message():
    """It is one topic on the local server: each queue gets a copy of what is published."""
    arn = "arn:aws:sns:eu-west-1:123456789012:orders"
    queues = [{"name": "a", "topic": "orders"}, {"name": "b", "topic": arn}]
    service = validation.service(Draft({"name": "foobar", "queues": queues}))
    assert [topic["name"] for topic in contexts.service(service)["topics"]] == ["orders"]


@pytest.mark.parametrize(
    ("kind", "fields", "place"),
    [("sqs", "id", "attributes"), ("sqs", "kind", "content"), ("amqp", "id", "content")],
)
def test_an_example_says_its_type_where_its_queue_can_carry_it(kind, fields, place):
    """In a message attribute, unless the payload has the field or the broker has no attributes."""
    queue = {"name": "a", "kind": kind, "by": "kind", "types": {"placed": {"payload": "Order"}}}
    service = spec(queue, payloads={"Order": {fields: "str"}})

    message = contexts.service(service)["queues"][0]["message"]

    assert message[place]["kind"] == "placed"
    assert ("kind" in message["attributes"]) == (place == "attributes")
