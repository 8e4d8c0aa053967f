"""The embedded server, over real HTTP."""

import contextlib
import http.client
import io
import json
import socket
import sys

import programs
import pytest

from loafer_kit import local
from loafer_kit.exceptions import ConfigurationError, MissingExtraError, ServiceError
from loafer_kit.local import LocalQueues, LocalServer, child_environment
from loafer_kit.local.gates import LongPolls


def test_a_server_takes_a_free_port_and_is_gone_afterwards():
    """A stopped server no longer answers, and stopping it twice is harmless."""
    with LocalServer() as server:
        queues = LocalQueues(server.url)
        assert queues.names() == []
    server.stop()
    with pytest.raises(ServiceError, match="Nothing answers"):
        queues.names()
    queues.close()


def test_a_taken_port_is_one_clear_line(local_server):
    """A port that somebody listens on is named, with the way out."""
    port = int(local_server.url.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=rf"Cannot listen on 127\.0\.0\.1:{port}: .*port"):
        LocalServer(port).start()


def test_without_the_extra_the_line_says_what_to_install(monkeypatch):
    """Where moto is missing, the error names the extra."""
    monkeypatch.setitem(sys.modules, "moto.moto_server.werkzeug_app", None)
    monkeypatch.delitem(sys.modules, "loafer_kit.local.gates", raising=False)
    monkeypatch.delattr(local, "gates", raising=False)
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
    result = programs.run("-c", program)
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
    result = programs.run("-c", program, env=child_environment(local_server.url, base))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(local_server.url)


def test_the_child_environment_keeps_what_is_not_aws():
    """PATH and the like reach the child; AWS variables of the user's do not."""
    environment = child_environment("http://x", {"PATH": "/bin", "AWS_ROLE_ARN": "arn"})
    assert environment["PATH"] == "/bin"
    assert "AWS_ROLE_ARN" not in environment


# Long polls: the slices, and what ends them


MESSAGE = b'{"Messages": [{"MessageId": "1", "ReceiptHandle": "a"}]}'


class Receives:
    """A WSGI application that answers ReceiveMessage with what was prepared."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.wait_times = []

    def __call__(self, environ, start_response):
        request = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        self.wait_times.append(request.get("WaitTimeSeconds"))
        start_response("200 OK", [])
        return [self.answers.pop(0)]


@pytest.fixture
def client():
    server_side, client_side = socket.socketpair()
    with server_side, client_side:
        yield server_side, client_side


def receive(polls, client, **request):
    body = json.dumps(request).encode()
    environ = {
        "HTTP_X_AMZ_TARGET": "AmazonSQS.ReceiveMessage",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "werkzeug.socket": client[0],
    }
    return b"".join(polls(environ, lambda status, headers: None))


def test_a_poll_goes_on_until_there_are_messages(client):
    """An empty slice is followed by another."""
    application = Receives(b"{}", b"{}", MESSAGE)
    assert b"Messages" in receive(LongPolls(application), client, WaitTimeSeconds=20)
    assert application.wait_times == [1, 1, 1]


def test_a_poll_whose_client_has_gone_ends(client):
    """A consumer that was killed does not get what is sent afterwards."""
    application = Receives(b"{}", MESSAGE)
    client[1].close()
    assert receive(LongPolls(application), client, WaitTimeSeconds=20) == b"{}"


def test_a_released_poll_does_not_wait(client):
    """What is there is still delivered, in one request without waiting."""
    application = Receives(b"{}")
    polls = LongPolls(application)
    polls.release(["jobs", "others"])
    url = "http://127.0.0.1/123456789012/jobs"
    assert receive(polls, client, QueueUrl=url, WaitTimeSeconds=20) == b"{}"
    assert application.wait_times == [0]


def test_only_polls_of_released_queues_end(client):
    """Other services on the same server go on waiting, and so does a queue that is held again."""
    application = Receives(b"{}", MESSAGE, b"{}", MESSAGE)
    polls = LongPolls(application)
    polls.release(["others", "jobs"])
    polls.hold(["jobs"])
    for queue in ("jobs", "bills"):
        url = f"http://127.0.0.1/123456789012/{queue}"
        assert receive(polls, client, QueueUrl=url, WaitTimeSeconds=20) == MESSAGE


def test_closed_polls_do_not_wait(client):
    """Whatever their queue is."""
    application = Receives(b"{}")
    polls = LongPolls(application)
    polls.close()
    assert receive(polls, client, WaitTimeSeconds=20) == b"{}"
    assert application.wait_times == [0]


def test_the_receipt_handle_of_a_message_is_the_latest(client):
    """Each receive of a message makes another one."""
    polls = LongPolls(Receives(MESSAGE, MESSAGE.replace(b'"a"', b'"b"')))
    url = "http://127.0.0.1/123456789012/jobs"
    for handle in ("a", "b"):
        receive(polls, client, QueueUrl=url)
        assert polls.handles["jobs"]["1"] == handle


@pytest.mark.parametrize("request_", [{}, {"WaitTimeSeconds": 0}, {"WaitTimeSeconds": 21}])
def test_any_other_receive_passes_as_it_is(client, request_):
    """Short polls, the queue's own wait time and refused values are moto's business."""
    application = Receives(b"{}")
    receive(LongPolls(application), client, **request_)
    assert application.wait_times == [request_.get("WaitTimeSeconds")]


def open_poll(url, queue_url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.request(
        "POST",
        "/",
        json.dumps({"QueueUrl": queue_url, "WaitTimeSeconds": 20}),
        {
            "X-Amz-Target": "AmazonSQS.ReceiveMessage",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sqs/aws4_request",
        },
    )
    return connection


def test_an_open_poll_gets_what_is_sent(local_server, local_queues):
    """The real server answers a waiting consumer as soon as there is a message."""
    local_queues.create("jobs")
    poll = open_poll(local_server.url, local_queues.queue_url("jobs"))
    local_queues.send("jobs", "hello")
    with contextlib.closing(poll):
        assert json.loads(poll.getresponse().read())["Messages"][0]["Body"] == "hello"


def test_the_server_releases_its_open_polls():
    """A consumer that waits on the real server is answered long before its wait time."""
    with LocalServer() as server:
        queues = LocalQueues(server.url)
        queues.create("jobs")
        poll = open_poll(server.url, queues.queue_url("jobs"))
        queues.close()
        server.polls.release(["jobs"])
        with contextlib.closing(poll):
            poll.sock.settimeout(10)
            assert b"Messages" not in poll.getresponse().read()
