"""The examples of the pages about sources and typed handlers are true."""

import re
import tomllib
from pathlib import Path

from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import asyncapi
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft

HOW_TO = Path(__file__).parents[2] / "docs/how-to"


def block(page, language):
    return re.search(rf"```{language}\n(.*?)```", (HOW_TO / page).read_text(), re.DOTALL)[1]


def test_the_document_makes_the_spec_beside_it(tmp_path):
    """The spec is the one that the page shows."""
    page = "begin-from-a-document.md"
    (tmp_path / "shop.yaml").write_text(block(page, "yaml"))

    service = validation.service(asyncapi.read(tmp_path / "shop.yaml"))

    assert service == validation.service(Draft(tomllib.loads(block(page, "toml"))))


def test_the_spec_with_models_is_valid():
    """It has the models and the handler that the page describes."""
    service = validation.service(Draft(tomllib.loads(block("type-handlers.md", "toml"))))

    context = contexts.service(service)
    assert [model["name"] for model in context["payloads"]] == ["OrderLine", "Order"]
    assert context["queues"][0]["handler"] == "handle_orders"
