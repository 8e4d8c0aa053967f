"""The observer of docs/how-to/report-to-new-relic.md, with New Relic's own agent."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/how-to/report-to-new-relic.md"

#: Runs in a process of its own, because the agent instruments what is imported after it. In its
#: developer mode it needs no network.
PROGRAM = """
import asyncio, json, sys
import newrelic.agent

newrelic.agent.initialize()
newrelic.agent.register_application(timeout=10)
exec(sys.stdin.read())

from loafer_kit import LoaferManager
from loafer_kit.exceptions import RejectMessage
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider
from newrelic.core.agent import agent_instance


class Provider(InMemoryProvider):
    def trace_headers(self, message):
        return {"traceparent": f"00-{message * 32}-{'b' * 16}-01"}


async def handle(content, metadata):
    await asyncio.sleep(0)
    if content == "c":
        raise ValueError("no")
    if content == "d":
        raise RejectMessage("decided")
    return True


manager = LoaferManager([Route(Provider("acd"), handle, "orders")])
manager.observe(NewRelic())
asyncio.run(manager.serve())
engine = agent_instance().application("shop").\
_stats_engine
print(json.dumps([[list(event)[:2] for event in engine.transaction_events],
    [error.message for error in engine.error_data()]]))
"""


def test_each_message_is_a_transaction_of_its_trace():
    """With its id as attribute; an exception is its error, a decision is not."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("NEW_RELIC")},
        "NEW_RELIC_DEVELOPER_MODE": "true",
        "NEW_RELIC_APP_NAME": "shop",
        "NEW_RELIC_LICENSE_KEY": "x" * 40,
    }
    observer = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=observer,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    events, errors = json.loads(done.stdout.splitlines()[-1])
    found = {event["traceId"][0]: (event, attributes) for event, attributes in events}
    assert {event["name"] for event, _ in found.values()} == {"OtherTransaction/Message/orders"}
    assert [found[trace][1]["message_id"] for trace in "acd"] == [1, 2, 3]
    assert [found[trace][0].get("error") for trace in "acd"] == [None, True, None]
    assert {event["parent.transportType"] for event, _ in found.values()} == {"Queue"}
    assert errors == ["no"]
