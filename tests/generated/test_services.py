"""Generated services pass linters, mypy and their own tests, and handle messages."""

import functools
import signal
import subprocess
import time
import zipfile

import pytest
from generated_projects import assert_clean, run_tests
from kept_projects import loafer_kit

from loafer_kit.ext.aws.envelopes import ENVELOPES, EnvelopeTranslator
from loafer_kit.local import LocalQueue, LocalQueues
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.spec import validation

pytestmark = pytest.mark.slow

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/Bills"
SERVICES = {
    "one queue": ["foobar", "--queue", "loafer-test"],
    "three queues of mixed kinds": [
        "Mixed-Bag",
        "--queue",
        "orders,wait_time=3,batch_size=5,visibility_timeout=60,concurrency=20,handler_timeout=1.5,prefetch=0,rate_limit=100,breaker_threshold=5,error_handler=on_error,dead_letter_queue=dlq",
        "--queue",
        "news,topic=news-topic,translator=News",
        "--queue",
        f"{URL},translator=none,error_handler=on_error",
        "--with",
        "ci,compose,cloudformation,sam,terraform,kubernetes,ecs",
    ],
    "fifo with a dead-letter queue, sns, and other envelopes": [
        "ordered",
        "--queue",
        "orders.fifo,dead_letter_queue=orders-dlq.fifo,max_receive_count=3",
        "--queue",
        "news,kind=sns",
        *("--queue", "events,kind=eventbridge,dead_letter_queue=dead"),
        *("--queue", "uploads.fifo,kind=s3,topic=buckets.fifo"),
        *("--queue", 'clouds,kind=cloudevents,by=type,types={"a.b": {}, "c d": {}}'),
        *("--queue", 'jobs,by=event.type,types={"start": {}},handler=on_others'),
        *(
            "--queue",
            'bills,kind=sns,by=kind,types={"x": {}, "y": {}},dead_letter_queue=bills-dead',
        ),
        *("--with", "lambda"),
        *("--queue", "answers,kind=lambda_destination"),
    ],
    "hostile names": [
        "routes",
        "--queue",
        "class,error_handler=_,translator=News",
        "--queue",
        "__init__,handler=handlers",
        "--queue",
        f"{'Z' * 75}.fifo,handler=asyncio,translator=LocalQueue",
        "--queue",
        "--,topic=None",
    ],
}


# The tools and tests of a service with one plain queue run in scaffold/shipping/test_ci.py.
@pytest.mark.timeout(400)
def test_services_are_clean_and_pass_their_own_tests(checkout, tmp_path):
    """black, ruff, mypy --strict and their own tests pass."""
    projects = []
    for number, arguments in enumerate(list(SERVICES.values())[1:]):
        (folder := tmp_path / str(number)).mkdir()
        projects.append(checkout.new(folder, *arguments))

    assert_clean(*projects)
    run_tests(*projects)


@pytest.mark.timeout(400)
def test_a_service_of_rabbitmq_is_clean_and_passes_its_own_tests(
    rabbitmq, checkout, tmp_path, monkeypatch
):
    """Also with a queue that is added; its tests use the broker that runs already."""
    queue = "orders,kind=amqp,exchange=shop,routing_key=order.*"
    project = checkout.new(tmp_path, "shopper", "--queue", queue)
    monkeypatch.chdir(project)
    assert loafer_kit("add", "queue", "shop.bills,kind=amqp,dead_letter_queue=shop.lost").code == 0

    assert loafer_kit("check").code == 0
    assert_clean(project)
    run_tests(project, LOAFER_AMQP_URL=rabbitmq)


def test_the_wheel_writes_what_the_checkout_writes(checkout, wheel, tmp_path):
    """The same files with the same bytes, and no compiled modules."""
    written = []
    for installation in (checkout, wheel):
        folder = tmp_path / str(len(written))
        folder.mkdir()
        project = installation.new(folder, *SERVICES["three queues of mixed kinds"])
        files = (path for path in project.rglob("*") if path.is_file())
        written.append({path.relative_to(project): path.read_bytes() for path in files})

    assert written[0] == written[1]


RUNS = {
    "one queue": ("wheel", "in the project", "-m {}"),
    "three queues of mixed kinds": ("checkout", "in the project", "-m loafer_kit run {}"),
    "fifo with a dead-letter queue, sns, and other envelopes": (
        "wheel",
        "above the project",
        "-m {}",
    ),
    "hostile names": ("checkout", "above the project", "-m {}"),
}


def _body(queue):
    """The body of a message that the queue's handler, or the first of its types, takes."""
    content, facts = {"key": "a b"}, {}
    if queue.types and queue.kind in ("cloudevents", "eventbridge"):
        facts[queue.by] = queue.types[0].name
    elif queue.types:
        content |= functools.reduce(
            lambda value, key: {key: value}, reversed(queue.by.split(".")), queue.types[0].name
        )
    inner = [ENVELOPES[kind] for kind in queue.inner_envelopes]
    return EnvelopeTranslator(*inner).wrap(content, **facts)


@pytest.mark.parametrize("kind", RUNS)
def test_a_service_handles_and_deletes_what_is_sent(request, server, tmp_path, kind, python_copies):
    """In the project's folder and in the one above; SIGTERM ends it, exit code 0."""
    name, place, command = RUNS[kind]
    installation = request.getfixturevalue(name)
    project = installation.new(tmp_path, *SERVICES[kind])
    queues = LocalQueues(server.url)
    spec = validation.service(documents.read(project / "loafer.toml"))
    for queue in spec.queues:
        queues.create(LocalQueue(queue.queue_name, queue.topic, queue.dead_letter_queue))
    for queue in spec.queues:
        body = _body(queue)
        if queue.topic:
            queues.publish(queue.topic, body)
        else:
            queues.send(queue.queue_name, body)

    with subprocess.Popen(
        [installation.python, *command.format(spec.package).split()],
        cwd=project if place == "in the project" else tmp_path,
        env=server.child_environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        while any(queues.counts(queue.queue_name).total for queue in spec.queues):
            assert service.poll() is None, service.stderr.read()
            time.sleep(0.1)  # until nothing is left, or the test's own time is over
        service.send_signal(signal.SIGTERM)
        _, log = service.communicate()
    queues.clear()
    queues.close()

    assert service.returncode == 0, log


def test_without_credentials_a_service_says_in_one_line_what_to_do(checkout, tmp_path):
    """And exits with 1."""
    checkout.new(tmp_path, *SERVICES["one queue"])
    nowhere = {"HOME": str(tmp_path / "home")}

    done = checkout.run("foobar", cwd=tmp_path, more=nowhere, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()  # the service has not started
    assert "loafer-kit dev" in line
    assert "AWS_ACCESS_KEY_ID" in line


def test_what_keeps_a_project_up_to_date_is_not_shipped(checkout, tmp_path):
    """The repository has the lock; the wheel has only the package."""
    project = checkout.new(tmp_path, *SERVICES["one queue"])

    checkout.run("build", "--wheel", "--no-isolation", cwd=project)

    (wheel,) = (project / "dist").glob("*.whl")
    assert (project / ".loafer-kit/lock.json").is_file()
    assert {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()} == {
        "foobar",
        "foobar-0.1.0.dist-info",
    }
