"""A local server with the services that name dead-letter queues, beside SQS and SNS."""

import pytest
from extra_services import server_with

from loafer_kit.local import gates

SERVICES = (*gates.SERVICES, "lambda", "events", "scheduler", "pipes")


@pytest.fixture(scope="session")
def local_server():
    with server_with(SERVICES) as server:
        yield server
