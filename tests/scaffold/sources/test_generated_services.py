"""Documents of every source, made into services by the command line: their own tests pass."""

import os
from pathlib import Path

import programs
import pytest
from kept_projects import loafer_kit

pytestmark = pytest.mark.slow

DOCUMENTS = Path(__file__).parent / "documents"
SOURCES = {
    "parcels": ("--asyncapi", "parcels-3.yaml"),
    "streetlights": ("--asyncapi", "streetlights-3.yaml"),
    "users_2": ("--asyncapi", "user-signedup-2.yaml"),
    "users_3": ("--asyncapi", "user-signedup-3.yaml"),
    "stack": ("--from-cloudformation", "shop.cfn.yaml"),
    "serverless": ("--from-sam", "shop.sam.yaml"),
    "state": ("--from-terraform", "shop.tfstate.json"),
    "plan": ("--from-terraform", "shop.tfplan.json"),
}
EVERY_TYPE = """
name = "shop"
queues = [{name = "orders", payload = "Order"}, {name = "news", topic = "t", payload = "News"}]

[payloads.Order]
id = "UUID"
at = "datetime"
day = "date"
time = "time"
total = "Decimal"
weight = "float"
count = "int"
paid = "bool"
more = "Any | None"
state = "Literal['open', 'paid']"
level = "Literal[1, 2, -3]"
"order-id" = "str"
class = "str | None"
list = "list[str] | None"
dt = "dict[str, list[int | None]]"
parent = "Order | None"
parts = "list[Part]"

[payloads.Part]
order = "Order | None"
parts = "list[Part]"

[payloads.News]
"""


def run(*command, folder, **environment):
    done = programs.run("-m", *command, cwd=folder, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(400)
def test_the_services_of_documents_pass_their_own_tests(tmp_path):
    """One message to each queue or topic, one round of the service, and nothing is left."""
    for name, (flag, document) in SOURCES.items():
        source = (flag, DOCUMENTS / document, "--output-dir", tmp_path)
        assert loafer_kit("new", "service", name, *source).code == 0
    path = os.pathsep.join(str(tmp_path / name) for name in SOURCES)

    arguments = ("--verbose", "--import-mode=importlib", *SOURCES)
    shown = run("pytest", *arguments, folder=tmp_path, PYTHONPATH=path)

    assert shown.count("test_messages_are_handled_and_deleted PASSED") == len(SOURCES)


@pytest.mark.timeout(400)
def test_a_service_with_every_type_is_clean(tmp_path):
    """By black, ruff and mypy, as strict as the project sets them; its tests pass too."""
    (tmp_path / "spec.toml").write_text(EVERY_TYPE)
    run("loafer_kit", "new", "service", "--spec", "spec.toml", folder=tmp_path)

    for command in (["black", "--check", "."], ["ruff", "check", "."], ["mypy"], ["pytest"]):
        run(*command, folder=tmp_path / "shop")
