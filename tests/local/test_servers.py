"""The embedded server, over real HTTP."""

import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.local import LocalServer, child_environment


def test_a_server_takes_a_free_port_and_is_gone_afterwards():
    """A stopped server no longer answers, and stopping it twice is harmless."""
    with LocalServer() as server:
        assert urllib.request.urlopen(server.url).status == 200
        url = server.url
    server.stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)


def test_a_taken_port_is_one_clear_line(local_server):
    """A port that somebody listens on is named, with the way out."""
    port = int(local_server.url.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=rf"Cannot listen on 127\.0\.0\.1:{port}: .*port"):
        LocalServer(port).start()


def test_without_the_extra_the_line_says_what_to_install(monkeypatch):
    """Where moto is missing, the error names the extra."""
    monkeypatch.setitem(sys.modules, "moto.moto_server.werkzeug_app", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'loafer-kit\[local\]'"):
        LocalServer().start()


@pytest.mark.slow
def test_the_first_server_of_a_process_starts_empty():
    """What an earlier server held is forgotten; servers that run together share their queues."""
    program = """
from loafer_kit.local import LocalQueues, LocalServer
with LocalServer() as first:
    LocalQueues(first.url).create("left-over")
    with LocalServer() as beside:
        print(LocalQueues(beside.url).names())
with LocalServer() as second:
    print(LocalQueues(second.url).names())
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("['left-over']\n[]\n", "")


def test_the_environment_leads_an_aiobotocore_client_here(local_server, local_queues):
    """A child process whose user has endpoints, a profile and a proxy reaches the server."""
    local_queues.create("jobs")
    base = {
        "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9",
        "AWS_PROFILE": "nobody",
        "AWS_SESSION_TOKEN": "stale",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    program = """
import asyncio
from aiobotocore.session import get_session
async def main():
    async with get_session().create_client("sqs") as sqs:
        print((await sqs.get_queue_url(QueueName="jobs"))["QueueUrl"])
asyncio.run(main())
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=child_environment(local_server.url, base),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith(local_server.url)


def test_the_child_environment_keeps_what_is_not_aws():
    """PATH and the like reach the child; AWS variables of the user's do not."""
    environment = child_environment("http://x", {"PATH": "/bin", "AWS_ROLE_ARN": "arn"})
    assert environment["PATH"] == "/bin"
    assert "AWS_ROLE_ARN" not in environment
