"""The parameters of a service in its code and in every artefact that ships it."""

import ast
import json

import hcl2
import programs
import pytest
import yaml

from loafer_kit.scaffold.rendering import builtin, contexts, templates
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.fields import ARTEFACT_NAMES
from loafer_kit.scaffold.spec.specs import Draft

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/${STAGE}-old"


@pytest.fixture(scope="module")
def project():
    """A service with two parameters, one of them without a default, and every artefact."""
    values = {
        "name": "shop",
        "with": list(ARTEFACT_NAMES),
        "parameters": [{"name": "STAGE", "default": "dev"}, {"name": "TEAM_NAME"}],
        "queues": [
            {"name": "${STAGE}-orders", "dead_letter_queue": "${STAGE}-dead"},
            {"name": "${TEAM_NAME}-news", "topic": "${STAGE}-news"},
            {"name": URL},
        ],
    }
    context = contexts.service(validation.service(Draft(values)))
    plan = builtin.render(templates.builtin("service"), context).plan
    return {path: content.decode() for path, content in plan.files.items()}


def test_the_routes_compute_the_names(project):
    """From the module that reads the environment; the routes' own names do not change."""
    calls = [
        (ast.unparse(node.args[0]), {item.arg: ast.unparse(item.value) for item in node.keywords})
        for node in ast.walk(ast.parse(project["shop/routes.py"]))
        if isinstance(node, ast.Call)
    ]

    assert [queue for queue, _ in calls] == [
        "f'{parameters.STAGE}-orders'",
        "f'{parameters.TEAM_NAME}-news'",
        f"f'{URL.replace('$', '').replace('STAGE', 'parameters.STAGE')}'",
    ]
    assert [keywords["name"] for _, keywords in calls] == ["'orders'", "'news'", "'old'"]
    assert calls[0][1]["dead_letter_queue"] == "f'{parameters.STAGE}-dead'"


@pytest.mark.parametrize(
    ("queue", "is_used"),
    [
        ({"name": "news", "topic": "${STAGE}-news"}, False),
        ({"name": "news", "dead_letter_queue": "${STAGE}-dead"}, True),
        ({"name": "news", "kind": "amqp", "exchange": "${STAGE}-x"}, True),
    ],
)
def test_the_routes_import_what_they_use(queue, is_used):
    """The name of a topic is not in the code, so ruff would find an import without a use."""
    values = {"name": "shop", "parameters": [{"name": "STAGE"}], "queues": [queue]}
    context = contexts.service(validation.service(Draft(values)))
    plan = builtin.render(templates.builtin("service"), context).plan
    routes = plan.files["shop/routes.py"].decode()

    assert ("import handlers, parameters\n" in routes) is is_used
    assert ("{parameters.STAGE}" in routes) is is_used


def test_a_service_without_a_value_ends_with_one_line(project, tmp_path):
    """When it is imported: `python -m shop` shows no traceback."""
    (tmp_path / "shop").mkdir()
    for path in ("shop/__init__.py", "shop/routes.py", "shop/handlers.py", "shop/parameters.py"):
        (tmp_path / path).write_text(project[path])

    environment = {"STAGE": "x", "TEAM_NAME": ""}
    done = programs.run("-c", "import shop", cwd=tmp_path, env=environment)

    assert done.returncode == 1
    assert done.stderr == "The environment variable TEAM_NAME is missing: set it.\n"


class _Loader(yaml.SafeLoader):
    """Reads `!Sub x` as the pair of its tag and its text."""


_Loader.add_multi_constructor("!", lambda loader, tag, node: (tag, node.value))


@pytest.mark.parametrize(
    "path", ["deploy/cloudformation.yaml", "deploy/sam.yaml", "deploy/ecs.yaml"]
)
def test_a_stack_has_them_as_parameters(project, path):
    """Names refer to them."""
    stack = yaml.load(project[path], _Loader)  # noqa: S506 - a SafeLoader

    assert stack["Parameters"]["Stage"]["Default"] == "dev"
    assert "Default" not in stack["Parameters"]["TeamName"]
    if path == "deploy/ecs.yaml":
        (container,) = stack["Resources"]["TaskDefinition"]["Properties"]["ContainerDefinitions"]
        assert {"Name": "STAGE", "Value": ("Ref", "Stage")} in container["Environment"]
        assert {"Name": "TEAM_NAME", "Value": ("Ref", "TeamName")} in container["Environment"]
    else:
        queue = stack["Resources"]["OrdersQueue"]["Properties"]
        assert queue["QueueName"] == ("Sub", "${Stage}-orders")
        topic = stack["Resources"]["NewsTopic"]["Properties"]
        assert topic["TopicName"] == ("Sub", "${Stage}-news")
    assert "STAGE}" not in project[path]


def test_terraform_has_them_as_variables(project):
    """Names refer to them."""
    variables = hcl2.loads(project["deploy/terraform/variables.tf"])["variable"]
    defaults = {
        key.strip('"'): body.get("default") for item in variables for key, body in item.items()
    }

    assert json.dumps(defaults["stage"]).strip('"\\') == "dev"
    assert defaults["team_name"] is None
    main = project["deploy/terraform/main.tf"]
    assert hcl2.loads(main)
    main = " ".join(main.split())  # the equals signs stand in a column
    assert 'name = "${var.stage}-orders"' in main
    assert 'name = "${var.team_name}-news"' in main
    assert ':123456789012:${var.stage}-old"' in main


def test_containers_get_them_as_environment(project):
    """compose takes them from the shell, for the service and for its queues."""
    services = yaml.safe_load(project["compose.yaml"])["services"]
    for service in ("service", "queues"):
        assert services[service]["environment"]["STAGE"] == "${STAGE:-dev}"
        assert services[service]["environment"]["TEAM_NAME"] == "${TEAM_NAME:?set TEAM_NAME}"
    assert 'LocalQueue("${STAGE:-dev}-orders", dead' in services["queues"]["command"][-1]
    deployment = next(
        item
        for item in yaml.safe_load_all(project["deploy/kubernetes.yaml"])
        if item["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "STAGE", "value": "dev"} in container["env"]


def test_the_tests_pin_them(project):
    """Whatever the environment of a developer says."""
    assert 'os.environ["STAGE"] = "dev"\n' in project["tests/conftest.py"]
    assert 'os.environ["TEAM_NAME"] = "team-name"\n' in project["tests/conftest.py"]
    assert 'local_queues.send("dev-orders"' in project["tests/test_service.py"]
    assert "route.name in names" in project["tests/test_service.py"]


def test_loafer_toml_keeps_them(project, tmp_path):
    """As references."""
    (tmp_path / "loafer.toml").write_text(project["loafer.toml"])

    service = validation.service(documents.read(tmp_path / "loafer.toml"))

    assert [queue.name for queue in service.queues] == ["${STAGE}-orders", "${TEAM_NAME}-news", URL]
