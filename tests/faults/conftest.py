"""Real SQS servers behind a proxy that breaks requests: moto's, and LocalStack's if installed."""

import functools
import os
import socket
import subprocess
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from faults.proxy import FaultProxy

from loafer_kit.local import LocalQueue, LocalServer
from loafer_kit.local.queues import LocalQueues

#: `make localstack` puts it there.
LOCALSTACK = Path(__file__).parents[2] / ".localstack" / "bin" / "python"


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def localstack(tmp_path_factory):
    """The URL of a LocalStack server with SQS; skips the test if LocalStack is not installed."""
    if not LOCALSTACK.exists():
        pytest.skip("LocalStack is not installed: make localstack")
    folder = tmp_path_factory.mktemp("localstack")
    url = f"http://127.0.0.1:{_free_port()}"
    environment = os.environ | {
        "SERVICES": "sqs,sns",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
        "USE_SSL": "0",
        "SQS_ENDPOINT_STRATEGY": "path",
        "GATEWAY_LISTEN": url.removeprefix("http://"),
        "FILESYSTEM_ROOT": str(folder),
        "HOME": str(folder),
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [LOCALSTACK, "-m", "localstack.runtime.main"],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(url + "/_localstack/health", process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url, process):
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            if process.poll() is not None:
                pytest.fail(f"LocalStack ended with {process.returncode}")
            time.sleep(0.1)
    pytest.fail("LocalStack does not answer")


@pytest.fixture(scope="session")
def moto():
    with LocalServer() as server:
        yield server.url


@pytest.fixture(params=["moto", "localstack"])
def server(request):
    """The URL of a real SQS server."""
    return request.getfixturevalue(request.param)


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server) as proxy:
        yield proxy


@pytest.fixture
def queues(server):
    """The queues of the server, without the proxy."""
    return _queues_of(server)


@functools.cache
def _queues_of(url):
    return LocalQueues(url)


@pytest.fixture
def queue(queues):
    """A fresh queue whose messages become visible again after two seconds."""
    name = f"faults-{uuid.uuid4().hex[:8]}"
    queues.create(LocalQueue(name, visibility_timeout=2))
    yield name
    queues.delete(name)
