"""Documents of every source, made into services by the command line: their own tests pass."""

from pathlib import Path

import pytest
from generated_projects import assert_clean, run_tests
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


@pytest.mark.timeout(400)
def test_the_services_of_documents_pass_their_own_tests(tmp_path):
    """One message to each queue or topic, one round of the service, and nothing is left."""
    for name, (flag, document) in SOURCES.items():
        source = (flag, DOCUMENTS / document, "--output-dir", tmp_path)
        assert loafer_kit("new", "service", name, *source).code == 0

    shown = run_tests(*(tmp_path / name for name in SOURCES))

    assert shown.count("test_messages_are_handled_and_deleted PASSED") == len(SOURCES)


@pytest.mark.timeout(400)
def test_a_service_with_every_type_is_clean(tmp_path):
    """By black, ruff and mypy, as strict as the project sets them; its tests pass too."""
    (tmp_path / "spec.toml").write_text(EVERY_TYPE)
    made = loafer_kit(
        *("new", "service", "--spec", tmp_path / "spec.toml", "--output-dir", tmp_path)
    )
    assert made.code == 0

    assert_clean(tmp_path / "shop")
    run_tests(tmp_path / "shop")
