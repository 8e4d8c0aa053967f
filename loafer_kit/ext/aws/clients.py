"""The session and the clients that everything with equal client options shares in one process."""

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from loafer_kit import __version__
from loafer_kit.ext.aws import connections
from loafer_kit.ext.aws.transport import SQSTransport

#: How requests to SQS are carried: straight over HTTP, or by aiobotocore at several times the cost.
TransportKind = Literal["direct", "botocore"]

#: The keywords that reach botocore's `create_client`.
CLIENT_OPTIONS = frozenset(
    {
        "api_version",
        "aws_access_key_id",
        "aws_account_id",
        "aws_secret_access_key",
        "aws_session_token",
        "config",
        "endpoint_url",
        "region_name",
        "use_ssl",
        "verify",
    }
)

#: Seconds: above the longest long poll (20 s) and below the default visibility timeout (30 s), so
#: that messages of an answer that never arrived are not still hidden when the next poll starts.
LONG_POLL_READ_TIMEOUT = 25.0
_READ_TIMEOUT = 10.0
_CONNECT_TIMEOUT = 5.0

#: Every open long poll holds a connection. They are opened when needed: a high limit costs nothing.
_POOL_SIZE = 1_000

_Key = frozenset[tuple[str, Any]]
_in_use: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, "Clients"]] = (
    weakref.WeakKeyDictionary()
)


class Clients:
    """Opens each client at its first use.

    Get one with `share`, give it back with `release`. Clients without a user stay open for the next
    one, until nobody in this loop uses any.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.session: AioSession = get_session()
        self._options = dict(options)
        self._opening = asyncio.Lock()
        self._clients: dict[tuple[str, bool], Any] = {}
        self._transports: dict[TransportKind, SQSTransport] = {}
        self.users = 0

    async def client(self, service: str = "sqs", *, long_polling: bool = False) -> Any:
        """Return the aiobotocore client of a service, one of its own for long polls.

        Raises what botocore raises when region, endpoint or options cannot work.
        """
        key = service, long_polling
        async with self._opening:
            if key not in self._clients:
                context = self.session.create_client(service, **self._parameters(long_polling))
                self._clients[key] = await context.__aenter__()
            return self._clients[key]

    def _parameters(self, long_polling: bool) -> dict[str, Any]:
        config = AioConfig(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=LONG_POLL_READ_TIMEOUT if long_polling else _READ_TIMEOUT,
            max_pool_connections=_POOL_SIZE,
            # The engine and the settlement repeat what failed, and know for how long it makes sense.
            retries={"total_max_attempts": 1},
            # Both are a fifth of what a call costs: botocore would build its user agent twice, and
            # check what this package has checked already.
            user_agent=f"loafer-kit/{__version__}",
            parameter_validation=False,
        )
        parameters = dict(self._options)
        if "region_name" not in parameters and (region := environment_region()):
            parameters["region_name"] = region
        if "config" in parameters:
            config = config.merge(parameters["config"])
        parameters["config"] = config
        if str(parameters.get("endpoint_url") or "").startswith("http://"):
            parameters["verify"] = False  # loading the certificates for nothing takes 20 ms
        return parameters

    async def transport(self, kind: TransportKind = "direct") -> SQSTransport:
        """Return what carries the requests of everybody who shares these clients.

        Where the options ask for something that only botocore does (a proxy, say), it is botocore
        that does it. Raises what botocore raises when region, endpoint or options cannot work.
        """
        client = await self.client()
        async with self._opening:
            if kind == "direct" and not connections.can_serve(client):
                kind = "botocore"
            if kind not in self._transports:
                self._transports[kind] = await self._open_transport(kind, client)
            return self._transports[kind]

    async def _open_transport(self, kind: TransportKind, client: Any) -> SQSTransport:
        if kind == "direct":
            parameters = self._parameters(long_polling=False)
            return await connections.connect(self.session, client, parameters)
        from loafer_kit.ext.aws.botocore_transport import BotocoreTransport

        return BotocoreTransport(self)

    async def close(self) -> None:
        """Close every connection."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.close()
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.__aexit__(None, None, None)


def environment_region() -> str | None:
    """Return the region that the environment names.

    botocore reads AWS_DEFAULT_REGION alone; AWS_REGION is what ECS, EKS and Lambda set, and what
    AWS's other SDKs read.
    """
    return os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")


def share(options: Mapping[str, Any]) -> Clients:
    """Return the clients for `options` (see `CLIENT_OPTIONS`) in the running loop.

    Options that are None count as not given.
    """
    given = {name: value for name, value in options.items() if value is not None}
    key = frozenset(given.items())
    shared = _in_use.setdefault(asyncio.get_running_loop(), {})
    clients = shared.get(key)
    if clients is None:
        clients = shared[key] = Clients(given)
    clients.users += 1
    return clients


async def release(clients: Clients) -> None:
    """Give back what `share` gave. The last user in the loop closes the clients of all."""
    clients.users -= 1
    shared = _in_use[asyncio.get_running_loop()]
    if any(others.users for others in shared.values()):
        return
    unused = list(shared.values())
    shared.clear()
    for idle in unused:
        await idle.close()


@asynccontextmanager
async def borrowed(options: Mapping[str, Any]) -> AsyncIterator[Clients]:
    """Share clients for the length of a block."""
    clients = share(options)
    try:
        yield clients
    finally:
        await release(clients)
