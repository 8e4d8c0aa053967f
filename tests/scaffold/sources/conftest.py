"""A local server with the services that name dead-letter queues, beside SQS and SNS."""

import contextlib

import pytest

from loafer_kit.local import LocalServer, gates, servers

SERVICES = (*gates.SERVICES, "lambda", "events", "scheduler", "pipes")


@pytest.fixture(scope="session")
def local_server():
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(servers, "SERVICES", SERVICES)
            server = stack.enter_context(LocalServer())
        yield server


@pytest.fixture(autouse=True)
def _all_services(monkeypatch):
    monkeypatch.setattr(gates, "SERVICES", SERVICES)
