"""The documentation's Python snippets run, page by page."""

import asyncio
import os
import re
from pathlib import Path

import pytest
import rabbit

from loafer_kit.ext.amqp import AMQPProvider

DOCS = Path(__file__).parents[2] / "docs"
#: The tutorial has another test.
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if "```python" in page.read_text() and page.name != "tutorial.md"
)


def snippets(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


async def place_order(url):
    """Put the message into RabbitMQ that the page handles."""
    provider = AMQPProvider("orders", url=url, exchange="shop", routing_key="order.*")
    await provider.start(lambda message: None)
    await rabbit.send(url, "order.placed", '{"id": 1}', exchange="shop")
    await provider.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_snippets_of_a_page_run_in_order(page, tmp_path, monkeypatch, request):
    """Each page is one program: later snippets use what earlier ones define."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # what a snippet sets ends with it
    if page.name == "consume-from-rabbitmq.md":
        url = request.getfixturevalue("rabbitmq")
        monkeypatch.setenv("LOAFER_AMQP_URL", url)
        asyncio.run(place_order(url))
    namespace = {"__name__": "snippets"}
    for snippet in snippets(page):
        exec(compile(snippet, str(page), "exec"), namespace)  # noqa: S102 - our own text
