"""Who the local server answers, over real HTTP: AWS clients, and no web page."""

import contextlib
import http.client
import json
import socket

import pytest

from loafer_kit.exceptions import ServiceError
from loafer_kit.local.queues import Clients

SCOPE = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/{}/aws4_request, Signature=0"
LIST_QUEUES = {
    "X-Amz-Target": "AmazonSQS.ListQueues",
    "Content-Type": "application/x-amz-json-1.0",
    "Authorization": SCOPE.format("sqs"),
}


def ask(server, path="/", method="POST", body="{}", **headers):
    """The status, headers and text of the answer to one request."""
    port = int(server.url.rpartition(":")[2])
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as http_:
        http_.request(method, path, body, headers)
        answer = http_.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


def signed(**headers):
    return LIST_QUEUES | {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:5000", "[::1]:80"])
def test_a_client_on_this_machine_is_answered(local_server, local_queues, host):
    """By any name of this machine, also through a proxy on another port."""
    status, _, text = ask(local_server, **signed(Host=host))
    assert (status, json.loads(text).get("QueueUrls", [])) == (200, [])


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:5000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1,evil.example",
        "127.0.0.1\tevil.example",
        "10.0.0.1",
        "0.0.0.0",
        "",
    ],
)
def test_a_host_of_another_name_is_refused(local_server, host):
    """A page whose name was rebound to this machine sends its own name, even in a signed request."""
    status, _, text = ask(local_server, **signed(Host=host))
    assert status == 403
    assert "is not this machine" in text


def test_a_request_without_a_host_is_refused(local_server):
    """HTTP/1.0 allows it; no AWS client sends it."""
    with socket.create_connection(("127.0.0.1", int(local_server.url.rpartition(":")[2]))) as raw:
        lines = "".join(f"{name}: {value}\r\n" for name, value in LIST_QUEUES.items())
        raw.sendall(f"POST / HTTP/1.0\r\n{lines}Content-Length: 2\r\n\r\n{{}}".encode())
        assert b" 403 " in raw.makefile("rb").readline()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://127.0.0.1:5000", "Host": "127.0.0.1:5000"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_request_of_another_site_is_refused(local_server, headers):
    """Whether it writes, and has an origin, or only loads, and has none."""
    status, _, text = ask(local_server, **signed(**headers))
    assert status == 403
    assert "Requests of web pages are refused" in text


def test_a_page_cannot_ask_what_it_may_do(local_server):
    """The preflight request of a browser is refused."""
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    status, headers, _ = ask(local_server, method="OPTIONS", **preflight)
    assert status == 403
    assert not [name for name in headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("origin", [{}, {"Origin": "http://127.0.0.1:5000"}])
def test_no_answer_has_cors_headers(local_server, origin):
    """Not even the answer to a request of this origin."""
    status, headers, _ = ask(local_server, **signed(Host="127.0.0.1:5000", **origin))
    assert status == 200
    assert not [name for name in headers if name.lower().startswith("access-control-")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("signature", [{}, {"Authorization": SCOPE.format("sqs")}])
@pytest.mark.parametrize(
    "request_",
    [
        "POST /moto-api/reset",
        "POST /moto-api/recorder/start-recording",
        "GET /moto-api/data.json",
        "GET /moto-api/",
        "GET /latest/meta-data/iam/security-credentials/",
        "POST /lambda_us-east-1/2015-03-31/functions",
        "GET /favicon.ico",
    ],
)
def test_the_paths_of_moto_are_not_served(local_server, local_queues, folder, request_, signature):
    """Nothing is reset, recorded or shown, whether the request is signed or not."""
    local_queues.create("kept")
    method, path = request_.split()
    status, _, text = ask(local_server, path, method, **signature)
    assert status in {403, 404}
    assert "kept" not in text
    assert local_queues.names() == ["kept"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("iam", "list_users", {}),
        ("lambda", "list_functions", {}),
        ("s3", "list_buckets", {}),
        ("dynamodb", "list_tables", {}),
        ("sts", "get_session_token", {}),
    ],
)
def test_other_services_are_not_served(local_server, service, operation, parameters):
    """Clients of theirs are told so."""
    clients = Clients(local_server.url)
    with pytest.raises(ServiceError, match=r"local server serves|Forbidden"):
        clients.call(service, operation, **parameters)
    clients.close()


def test_the_account_of_a_topic_can_be_found(local_server):
    """A service asks for it when it publishes to a topic by name."""
    clients = Clients(local_server.url)
    assert clients.call("sts", "get_caller_identity")["Account"] == "123456789012"
    clients.close()


def test_an_unsigned_request_is_refused(local_server):
    """A form on a web page cannot sign one."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, text = ask(local_server, body="Action=ListQueues&Version=2012-11-05", **form)
    assert (status, "not signed" in text) == (403, True)
    assert ask(local_server, "/?Action=ListQueues", "GET", None)[0] == 403


def test_the_server_listens_on_loopback_only(local_server):
    """Other machines cannot connect, whatever address they use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: this finds the machine's own address
        except OSError:
            pytest.skip("this machine has no other address")
        address = probe.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("this machine has no other address")
    port = int(local_server.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, port), timeout=10)


def test_an_action_that_moto_lacks_is_refused(local_server):
    """In SQS's own words, without a traceback on the terminal of `dev`."""
    status, _, text = ask(local_server, **signed(X_Amz_Target="AmazonSQS.ListMessageMoveTasks"))
    assert (status, json.loads(text)["__type"]) == (400, "UnsupportedOperation")
