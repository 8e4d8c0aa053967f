"""The pytest fixtures `local_server` and `local_queues`."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loafer_kit.local import LocalQueues, LocalServer


@pytest.fixture(scope="session")
def local_server() -> Iterator["LocalServer"]:
    """The embedded SQS and SNS server, one per test run (needs the extra `local`)."""
    from loafer_kit.local import LocalServer

    with LocalServer() as server:
        yield server


@pytest.fixture
def local_queues(
    local_server: "LocalServer", monkeypatch: pytest.MonkeyPatch
) -> Iterator["LocalQueues"]:
    """The queues of an empty server; during the test, AWS clients connect to it."""
    from loafer_kit.local import LocalQueues

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in local_server.environment.items():
        monkeypatch.setenv(name, value)
    queues = LocalQueues(local_server.url)
    try:
        queues.clear()  # other users of the server may have left some
        yield queues
        queues.clear()
    finally:
        queues.close()
