"""Finding a queue, and sending to it."""

import json
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError, ServiceError
from loafer_kit.local import LocalQueue, LocalServer, sending
from loafer_kit.local.queues import Clients, MessageOptions, create_topic
from loafer_kit.local.sending import batches, find_destination, send
from loafer_kit.local.servers import ServerRecord, announce


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def announced(local_server, local_queues, monkeypatch):
    """The server as `dev` announces it; what would reach it otherwise is out of the way."""
    for name in local_server.environment:
        monkeypatch.delenv(name, raising=False)
    with announce(ServerRecord(local_server.url, "orders")):
        yield local_queues


def test_a_queue_is_found_on_the_local_server(announced):
    """The destination says which server it is, and for which service."""
    announced.create("jobs")
    destination = find_destination("jobs")
    assert str(destination) == f"jobs on the local server of orders ({announced.url})"
    list(send(destination, ["one", "two"], MessageOptions(attributes={"origin": "test"})))
    messages = announced.receive("jobs")
    assert {message["Body"] for message in messages} == {"one", "two"}
    assert messages[0]["MessageAttributes"]["origin"]["StringValue"] == "test"


def test_more_than_a_batch_is_sent_in_order(announced):
    """Each id is given once its message is sent."""
    announced.create("steps.fifo")
    bodies = [f"{number:02}" for number in range(23)]
    ids = list(send(find_destination("steps.fifo"), bodies, MessageOptions(group="a")))
    assert len(set(ids)) == 23
    received = []
    while messages := announced.receive("steps.fifo"):
        received += [message["Body"] for message in messages]
        announced.delete_messages("steps.fifo", messages)
    assert received == bodies


def test_a_subscribed_queue_is_reached_through_its_topic(announced):
    """The handler gets what it is written for: SNS's envelope."""
    announced.create(LocalQueue("inbox", topic="news"))
    destination = find_destination("inbox")
    assert "inbox through topic news on" in str(destination)
    list(send(destination, ['{"id": 1}'], MessageOptions(attributes={"origin": "test"})))
    (message,) = announced.receive("inbox")
    envelope = json.loads(message["Body"])
    assert envelope["Message"] == '{"id": 1}'
    assert envelope["MessageAttributes"]["origin"]["Value"] == "test"
    with pytest.raises(ConfigurationError, match="cannot be delayed"):
        list(send(destination, ["late"], MessageOptions(delay=1)))


def test_a_queue_that_no_local_server_has_is_not_looked_for_on_aws(announced, monkeypatch):
    """A typing mistake does not send a test message to production."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    announced.create("jobs")
    with pytest.raises(ConfigurationError, match=r"'jbos'.*of orders .* has jobs.*queue's URL"):
        find_destination("jbos")


def test_a_url_names_its_own_server(local_queues):
    """Nothing needs to be announced for a queue's URL."""
    local_queues.create("jobs")
    list(send(find_destination(local_queues.queue_url("jobs")), ["hello"], MessageOptions()))
    assert local_queues.counts("jobs").visible == 1


@pytest.fixture
def another_server(local_server, local_queues):
    """The record of another local server, which has every queue as well."""
    with LocalServer() as other, announce(ServerRecord(other.url, "another")):
        yield other


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"])
def test_an_explicit_endpoint_is_preferred(local_queues, another_server, monkeypatch, variable):
    """The variables lead there, though a local server runs that has the queue."""
    if variable == "AWS_ENDPOINT_URL":
        monkeypatch.delenv("AWS_ENDPOINT_URL_SQS")
    local_queues.create("jobs")
    destination = find_destination("jobs")
    assert str(destination) == f"jobs on {local_queues.url}, which {variable} names"
    list(send(destination, ["hello"], MessageOptions()))
    assert local_queues.counts("jobs").visible == 1


def test_an_endpoint_that_is_to_be_ignored_is(local_queues, another_server, monkeypatch):
    """The variable for that is botocore's."""
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    local_queues.create("jobs")
    assert find_destination("jobs").place == f"the local server of another ({another_server.url})"


def test_an_endpoint_without_the_queue_is_named(local_queues):
    """Nothing is looked for elsewhere."""
    local_queues.create(LocalQueue("inbox", topic="news"))
    with pytest.raises(
        ConfigurationError, match=r"no queue or topic 'jobs' on .* inbox, topic news"
    ):
        find_destination("jobs")


def test_a_local_endpoint_needs_neither_credentials_nor_region(local_queues, monkeypatch):
    """A developer has set the endpoint alone."""
    local_queues.create("jobs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    assert find_destination("jobs").queue == "jobs"


# Topics


@pytest.mark.parametrize("name", ["news", "arn:aws:sns:us-east-1:123456789012:news"])
def test_a_topic_is_published_to(announced, name):
    """Each of its queues gets the message."""
    announced.create(LocalQueue("inbox", topic="news"), LocalQueue("archive", topic="news"))
    destination = find_destination(name)
    assert str(destination) == f"topic news on the local server of orders ({announced.url})"
    assert destination.described["topic"] == "news"
    list(send(destination, ["hello"], MessageOptions()))
    assert [announced.counts(queue).visible for queue in ("inbox", "archive")] == [1, 1]


def test_a_queue_goes_before_a_topic_of_its_name(announced):
    """The topic's ARN is another way."""
    announced.create("news", LocalQueue("inbox", topic="news"))
    assert find_destination("news").queue == "news"


@pytest.mark.parametrize(
    "address", [lambda queues: "inbox", lambda queues: queues.queue_url("inbox")]
)
def test_a_queue_that_expects_an_envelope_never_gets_a_raw_body(local_queues, address):
    """By its name at an endpoint, and by its URL."""
    local_queues.create(LocalQueue("inbox", topic="news"))
    list(send(find_destination(address(local_queues)), ["hello"], MessageOptions()))
    (message,) = local_queues.receive("inbox")
    assert json.loads(message["Body"])["Message"] == "hello"


def test_a_queue_with_raw_delivery_gets_the_body_itself(local_queues):
    """Its handler expects no envelope."""
    local_queues.create("inbox")
    clients = Clients(local_queues.url)
    arn = create_topic(clients, "news")
    clients.call(
        "sns",
        "subscribe",
        TopicArn=arn,
        Protocol="sqs",
        Endpoint=local_queues.queue_arn("inbox"),
        Attributes={"RawMessageDelivery": "true"},
    )
    clients.close()
    assert find_destination("inbox").topic is None


def test_beyond_this_machine_a_topic_is_not_published_to_for_one_queue(local_queues, monkeypatch):
    """It may have other subscribers: the user has to name it."""
    monkeypatch.setattr(sending, "is_local", lambda _url: False)
    local_queues.create(LocalQueue("inbox", topic="news"))
    with pytest.raises(
        ConfigurationError, match=r"inbox on .*envelope.*loafer-kit send arn:.*news"
    ):
        find_destination("inbox")


def test_the_arn_of_a_queue_is_refused(announced):
    """It is no topic, and a queue has shorter names."""
    with pytest.raises(ConfigurationError, match=r"not the ARN of a topic: give a queue's name"):
        find_destination("arn:aws:sqs:us-east-1:123456789012:jobs")


@pytest.fixture
def no_endpoint(local_server, local_queues, monkeypatch):
    """AWS's variables without an endpoint: nothing must be asked of AWS."""
    for name in [name for name in local_server.environment if "ENDPOINT" in name]:
        monkeypatch.delenv(name)


def test_without_server_and_credentials_both_ways_out_are_named(no_endpoint, monkeypatch):
    """One line tells what to start or what to set."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ConfigurationError, match=r"`loafer-kit dev`.*AWS_ACCESS_KEY_ID"):
        find_destination("jobs")


def test_without_a_region_the_variable_is_named(no_endpoint, monkeypatch):
    """Credentials alone do not reach AWS."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        find_destination("jobs")


def test_the_region_may_stand_in_either_variable(local_queues, monkeypatch):
    """The runtime takes both, and so does this."""
    local_queues.create("jobs")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert find_destination("jobs").queue == "jobs"


def test_a_url_on_aws_names_its_region(local_queues, monkeypatch):
    """The queue is asked for where it is, unless another endpoint is set."""
    url = "https://sqs.eu-west-3.amazonaws.com/123456789012/jobs"
    assert sending.server_of(url).clients.aws_region() == "us-east-1"
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name)
    assert sending.server_of(url).clients.aws_region() == "eu-west-3"


def test_a_server_that_no_longer_answers_is_passed_over(no_endpoint, local_queues):
    """Another one that has the queue is found."""
    local_queues.create("jobs")
    with LocalServer() as gone:
        pass
    with (
        announce(ServerRecord(local_queues.url, "orders", pid=1)),
        announce(ServerRecord(gone.url, "gone", pid=2)),
    ):
        assert find_destination("jobs").place.startswith("the local server of orders")


def test_a_refused_message_is_named(announced):
    """What was refused, and why."""
    announced.create("jobs")
    with pytest.raises(ServiceError, match=r"^jobs: .*"):
        list(send(find_destination("jobs"), ["x" * (1024 * 1024 + 1)], MessageOptions()))


class _Vague(BaseHTTPRequestHandler):
    """Answers 200 and confirms nothing."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_):
        """Say nothing."""


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        '{"Successful": []}',
        '{"Successful": [{"Id": "0"}]}',
        '{"Successful": [{"Id": "0", "MessageId": "1", "MD5OfMessageBody": "0"}]}',
    ],
)
def test_a_message_that_the_answer_does_not_confirm_is_named(answer):
    """A gateway may answer 200 in the place of SQS."""
    with HTTPServer(("127.0.0.1", 0), _Vague) as server:
        server.answer = answer.encode()
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/123456789012/jobs"
        with pytest.raises(ServiceError, match=r"^jobs: the answer does not confirm .*: 'one'$"):
            list(send(find_destination(url), ["one"], MessageOptions()))
        server.shutdown()


@given(st.lists(st.text(min_size=1, max_size=5).map(lambda text: text * 60_000), max_size=25))
def test_batches_keep_order_and_fit(bodies):
    """Nothing is lost or moved, and no batch is larger than SQS takes."""
    made = list(batches(bodies))
    assert [body for batch in made for body in batch] == bodies
    for batch in made:
        assert 1 <= len(batch) <= 10
        assert len(batch) == 1 or sum(len(body.encode()) for body in batch) <= 1024 * 1024
