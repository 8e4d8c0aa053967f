"""Stores, each on a real server, file or memory."""

import contextlib
import shutil
import subprocess

import boto3
import pytest
from extra_services import server_with

from loafer_kit.contrib.idempotency.dynamodb import DynamoDBStore
from loafer_kit.contrib.idempotency.redis import RedisStore
from loafer_kit.contrib.idempotency.stores import MemoryStore, SQLiteStore
from loafer_kit.local import gates

SERVICES = (*gates.SERVICES, "dynamodb")
CLIENT = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}


@pytest.fixture(scope="session")
def local_server():
    with server_with(SERVICES) as server:
        yield server


@pytest.fixture
def dynamodb(local_server):
    """The options of a client of DynamoDB with the table `records`."""
    options = {**CLIENT, "endpoint_url": local_server.url}
    client = boto3.client("dynamodb", **options)
    with contextlib.suppress(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName="records",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    yield options
    client.delete_table(TableName="records")
    client.close()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """The URL of a Redis server."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis is not installed, on Debian: apt-get install redis-server")
    socket = tmp_path_factory.mktemp("redis") / "socket"
    options = ["--port", "0", "--unixsocket", str(socket), "--save", ""]
    with subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert any("eady to accept connections" in line for line in process.stdout)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.communicate()


@pytest.fixture(params=["memory", "sqlite", "dynamodb", "redis"])
async def open_store(request):
    """Return a function that returns a store: another one each time, with the same records."""
    opened = []
    memory = MemoryStore()

    def open_store():
        match request.param:
            case "memory":
                return memory
            case "sqlite":
                store = SQLiteStore(request.getfixturevalue("tmp_path") / "records")
            case "dynamodb":
                store = DynamoDBStore("records", **request.getfixturevalue("dynamodb"))
            case "redis":
                store = RedisStore(request.getfixturevalue("redis_url"))
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store):
    return open_store()
