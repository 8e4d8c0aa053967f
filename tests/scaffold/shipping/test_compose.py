"""The Compose file: Compose takes it, and what it runs works together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from moto.server import ThreadedMotoServer

from loafer_kit.scaffold import shipping

PATH = "compose.yaml"
QUEUES = [
    {"name": "orders", "dead_letter_queue": "orders-dlq", "max_receive_count": 3},
    {"name": "plain"},
    {"name": "news.fifo", "topic": "paper.fifo"},
]


def test_compose_takes_it(ship, tmp_path):
    """By the schema of the Compose specification."""
    (tmp_path / PATH).write_text(ship("compose")[PATH])

    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", PATH],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def test_nothing_in_it_is_interpolated(ship):
    """Compose would replace a dollar sign and what follows."""
    assert "$" not in ship("compose")[PATH]


def test_the_service_waits_for_its_queues_and_they_for_the_server(ship):
    """And it is given the time to finish its work."""
    services = yaml.safe_load(ship("compose")[PATH])["services"]

    assert set(services) == {"service", "queues", "sqs"}
    assert (
        services["service"]["depends_on"]["queues"]["condition"] == "service_completed_successfully"
    )
    assert services["queues"]["depends_on"]["sqs"]["condition"] == "service_healthy"
    assert services["service"]["stop_grace_period"] == f"{shipping.STOP}s"


@pytest.fixture
def project(ship, tmp_path):
    for path, text in ship("compose", queues=QUEUES).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.slow
def test_the_queues_are_made_and_the_service_handles_their_messages(
    project, local_server, local_queues, python_copies
):
    """The commands and environments of the file, on this machine's server in place of `sqs`."""
    text = (project / PATH).read_text().replace("http://sqs:5000", local_server.url)
    services = yaml.safe_load(text)["services"]
    health_file = project / "health"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {
        **os.environ,
        **services["service"]["environment"],
        "LOAFER_HEALTH_FILE": str(health_file),
        "PATH": path,
    }
    del environment["AWS_ENDPOINT_URL_SQS"], environment["AWS_ENDPOINT_URL_SNS"]

    _, *arguments = services["queues"]["command"]
    subprocess.run([sys.executable, *arguments], env=environment, check=True, timeout=60)

    assert set(local_queues.names()) == {"orders", "orders-dlq", "plain", "news.fifo"}
    assert '"maxReceiveCount": 3' in local_queues.attributes("orders")["RedrivePolicy"]
    for queue in ("orders", "plain"):
        local_queues.send(queue, {"hello": "world"})
    local_queues.publish("paper.fifo", {"hello": "world"})
    service = subprocess.Popen([sys.executable, "-m", "foobar"], cwd=project, env=environment)
    try:
        deadline = time.monotonic() + 60
        while any(local_queues.counts(name).total for name in ("orders", "plain", "news.fifo")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        while '"ready"' not in health_file.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        kind, *check = services["service"]["healthcheck"]["test"]
        assert kind == "CMD"
        subprocess.run(check, env=environment, check=True, timeout=60)
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=shipping.STOP) == 0
    assert subprocess.run(check, env=environment, check=False, timeout=60).returncode == 1


@pytest.mark.slow
def test_the_health_check_is_answered(project):
    """By the command that Compose runs in the container of moto's own server."""
    check = yaml.safe_load((project / PATH).read_text())["services"]["sqs"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python3", "-c"]

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    command = check[3].replace("127.0.0.1:5000", f"{host}:{port}")

    subprocess.run([sys.executable, "-c", command], check=True, timeout=60)
    server.stop()


def test_a_service_of_rabbitmq_waits_for_its_broker(ship):
    """It declares its queues itself."""
    files = ship("compose", "ci", queues=[{"name": "orders", "kind": "amqp"}])
    services = yaml.safe_load(files[PATH])["services"]
    assert set(services) == {"service", "rabbitmq"}
    assert services["service"]["depends_on"]["rabbitmq"]["condition"] == "service_healthy"
    assert services["service"]["environment"] == {
        "LOAFER_AMQP_URL": "amqp://guest:guest@rabbitmq:5672/"
    }
    assert "rabbitmq-server" in files[".github/workflows/ci.yml"]
