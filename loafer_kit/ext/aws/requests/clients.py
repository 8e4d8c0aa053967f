"""Clients: the session, credentials and connections that users with equal options share."""

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal

import botocore.session
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore import exceptions as boto
from botocore import xform_name
from botocore.config import Config

from loafer_kit import __version__
from loafer_kit.events import requesting
from loafer_kit.ext.aws import addresses, trace_headers
from loafer_kit.ext.aws.requests import direct, errors
from loafer_kit.ext.aws.requests.direct import FrozenCredentials
from loafer_kit.ext.aws.requests.transport import SQSTransport, check_parsable
from loafer_kit.logs import log_event

logger = logging.getLogger(__name__)

#: How requests to SQS are carried: over plain HTTP, or by aiobotocore at several times the cost.
TransportKind = Literal["direct", "botocore"]

#: The keywords that are passed on to botocore's `create_client`.
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

#: Seconds: above the longest long poll (20 s), and below the default visibility timeout (30 s) so
#: that the messages of an answer that never arrived are visible again soon after the next poll
#: starts.
LONG_POLL_READ_TIMEOUT = 25.0
_READ_TIMEOUT = 10.0
_CONNECT_TIMEOUT = 5.0
_BLOCKING_TIMEOUT = 3.0

#: Every open long poll holds a connection. They are opened when needed: a high limit costs nothing.
_POOL_SIZE = 1_000

#: Seconds in which credentials that AWS no longer accepts may be replaced: a rotation may disable
#: the old ones before it writes the new ones.
_ROTATION = 300.0

_Key = frozenset[tuple[str, Any]]
_in_use: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, "Clients"]] = (
    weakref.WeakKeyDictionary()
)


class RenewableCredentials:
    """Credentials that are read again when AWS does not accept them.

    botocore reads static credentials once, so it misses their rotation in the file. `current` are
    its credentials; `read_again` returns those of a new session (None: they were given as options).
    """

    def __init__(self, current: Any, read_again: Callable[[], Awaitable[Any]] | None) -> None:
        self._current = current
        self._read_again = read_again
        self._reading = asyncio.Lock()
        self._accepted = False
        self._refused_since: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current, name)

    async def get_frozen_credentials(self) -> FrozenCredentials:
        """Return credentials that are valid now.

        Raises `CredentialsError` for any failure but missing ones, a wrong configuration and an
        error of AWS.
        """
        with _retrieval():
            try:
                return await _frozen(self._current)
            except boto.ClientError as error:  # from STS, about the credentials of a role's source
                if not errors.is_about_credentials(errors.client_error_code(error)):
                    raise
                if self._read_again is None or (found := await self._read_again()) is None:
                    raise
                self._current = found
                return await _frozen(found)

    def accepted(self) -> None:
        """Take note that AWS accepts the credentials."""
        self._accepted, self._refused_since = True, None

    async def renewed(self, rejected: FrozenCredentials) -> bool:
        """Return whether there are other credentials than those that AWS did not accept.

        Raises `CredentialsError` if there are none yet, but AWS accepted these until lately.
        """
        if self._read_again is None:
            return False
        async with self._reading:  # many requests are rejected at once, one reads
            if not _equal(await self.get_frozen_credentials(), rejected):
                return True
            with _retrieval(configuration_may_change=True):
                found = await self._read_again()
                if found is None or _equal(await _frozen(found), rejected):
                    self._check_patience()
                    return False
            self._current = found
            text = "AWS did not accept the previous ones"
            log_event(logger, logging.WARNING, "credentials.renewed", {}, text)
            return True

    def _check_patience(self) -> None:
        """Raise `CredentialsError` as long as a rotation may be under way."""
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        if self._accepted and now - self._refused_since < _ROTATION:
            raise errors.RefusedCredentialsError


class Session(AioSession):  # type: ignore[misc]  # aiobotocore has no types
    """A session of aiobotocore whose credentials are renewable."""

    #: What `get_credentials` found: None before its first call, or without any credentials.
    found: RenewableCredentials | None = None

    async def get_credentials(self) -> RenewableCredentials | None:
        """Return the credentials that botocore's providers find.

        Raises as `RenewableCredentials.get_frozen_credentials` does.
        """
        if self.found is None:
            with _retrieval():
                found = await super().get_credentials()
            if found is not None:
                self.found = RenewableCredentials(found, lambda: AioSession().get_credentials())
        return self.found


#: Raised for credentials that no repetition brings.
_SETUP_ERRORS = (
    boto.ConfigNotFound,
    boto.ConfigParseError,
    boto.InvalidConfigError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.UnknownCredentialError,
)


@contextlib.contextmanager
def _retrieval(*, configuration_may_change: bool = False) -> Iterator[None]:
    """Turn whatever a provider of credentials raises into `CredentialsError`.

    `configuration_may_change`: a file may be read while it is written.
    """
    try:
        yield
    except (boto.ClientError, errors.CredentialsError):
        raise
    except _SETUP_ERRORS as error:
        if configuration_may_change:
            raise errors.CredentialsError(error) from error
        raise
    except Exception as error:
        raise errors.CredentialsError(error) from error


async def _frozen(credentials: Any) -> FrozenCredentials:
    frozen: FrozenCredentials = await credentials.get_frozen_credentials()
    return frozen


def _equal(*credentials: FrozenCredentials) -> bool:
    return len({(found.access_key, found.secret_key, found.token) for found in credentials}) == 1


def _on_one_line(record: logging.LogRecord) -> bool:
    """Log a refresh that failed with its reason instead of its traceback."""
    if isinstance(record.exc_info, tuple) and isinstance(record.args, tuple):
        record.msg, record.args = f"{record.msg} %r", (*record.args, record.exc_info[1])
        record.exc_info = None
    return True


logging.getLogger("aiobotocore.credentials").addFilter(_on_one_line)


class Clients:
    """Opens each client at its first use.

    Get one with `share`, give it back with `release`. Clients without a user stay open for the next
    one until nobody in this loop uses any.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.session = Session()
        self._options = dict(options)
        self._opening = asyncio.Lock()
        self._clients: dict[tuple[str, bool], Any] = {}
        self._transports: dict[TransportKind, SQSTransport] = {}
        self.users = 0

    async def client(self, service: str = "sqs", *, long_polling: bool = False) -> Any:
        """Return the aiobotocore client of a service; long polls have a client of their own.

        Raises botocore's errors if region, endpoint or options cannot work.
        """
        key = service, long_polling
        async with self._opening:
            if key not in self._clients:
                context = self.session.create_client(service, **self._parameters(long_polling))
                client = await context.__aenter__()
                client.meta.events.register("before-parse", check_parsable)
                self._clients[key] = client
            return self._clients[key]

    async def request(
        self,
        service: str,
        action: str,
        subject: str,
        parameters: Mapping[str, Any],
        *,
        long_polling: bool = False,
    ) -> dict[str, Any]:
        """Return AWS's answer to `action`, asked by aiobotocore.

        Raises as `SQSTransport.call` does; `subject` is how its errors name the queue or the topic.
        """
        with requesting(service, action, parameters, trace_headers.read) as told:
            try:
                client = await self.client(service, long_polling=long_polling)
                answer = await self._ask(getattr(client, xform_name(action)), parameters)
            except errors.REQUEST_ERRORS as exc:
                permission = action if service == "sqs" else f"{service}:{action}"
                raise errors.from_exception(exc, action=permission, subject=subject) from exc
            if told is not None:
                told.answer = answer
                told.request_id = answer.get("ResponseMetadata", {}).get("RequestId")
        return answer

    async def _ask(
        self, operation: Callable[..., Awaitable[dict[str, Any]]], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return AWS's answer; repeat the request only to renew the credentials."""
        credentials = self.session.found  # None if the options name others
        used = await credentials.get_frozen_credentials() if credentials else None
        asked = time.time()
        try:
            answer = await operation(**parameters)
        except boto.ClientError as exc:
            code, headers = errors.client_error_code(exc), errors.client_error_headers(exc)
            # The clock may have been set during the request.
            if (skew := errors.clock_skew(code, headers, asked, time.time())) is not None:
                raise errors.ClockError(skew) from exc
            if credentials is None or used is None or not errors.is_about_credentials(code):
                raise
            if not await credentials.renewed(used):
                raise
            answer = await operation(**parameters)
        if credentials is not None:
            credentials.accepted()
        return answer

    def _parameters(self, long_polling: bool) -> dict[str, Any]:
        config = AioConfig(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=LONG_POLL_READ_TIMEOUT if long_polling else _READ_TIMEOUT,
            max_pool_connections=_POOL_SIZE,
            # Engine and settlement repeat requests, and know for how long that makes sense.
            retries={"total_max_attempts": 1},
            # Each of these saves a fifth of a call's cost: botocore builds its own user agent twice,
            # and the parameters are checked already.
            user_agent=f"loafer-kit/{__version__}",
            parameter_validation=False,
        )
        parameters = dict(self._options)
        if region := addresses.find_region(self.session, parameters.get("region_name")):
            parameters["region_name"] = region
        else:  # botocore takes an empty AWS_DEFAULT_REGION for a region
            self.session.get_component("config_store").set_config_variable("region", None)
        if "config" in parameters:
            config = config.merge(parameters["config"])
        parameters["config"] = config
        if str(parameters.get("endpoint_url") or "").startswith("http://"):
            parameters["verify"] = False  # loading certificates that are not needed takes 20 ms
        return parameters

    async def transport(self, kind: TransportKind = "direct") -> SQSTransport:
        """Return the transport that all users of these clients share.

        It is botocore's if the options ask for something that only botocore supports (a proxy, for
        example). Raises botocore's errors if region, endpoint or options cannot work.
        """
        client = await self.client()
        async with self._opening:
            if kind == "direct" and not direct.can_replace(client):
                kind = "botocore"
            if kind not in self._transports:
                self._transports[kind] = await self._open_transport(kind, client)
            return self._transports[kind]

    async def _open_transport(self, kind: TransportKind, client: Any) -> SQSTransport:
        if kind == "botocore":
            return BotocoreTransport(self.request)
        parameters = self._parameters(long_polling=False)
        key, secret = parameters.get("aws_access_key_id"), parameters.get("aws_secret_access_key")
        credentials = (
            await self.session.get_credentials()
            if key is None or secret is None
            else RenewableCredentials(
                AioCredentials(key, secret, parameters.get("aws_session_token")), None
            )
        )
        return await direct.open_transport(self.session, client, parameters, credentials)

    def blocking_client(self) -> Any:
        """Return a client of botocore for SQS, for use in another thread while the loop is blocked.

        The caller closes it. Its requests end soon, since the loop's changes of visibility wait for
        them. Raises botocore's errors.
        """
        parameters = self._parameters(long_polling=False)
        parameters["config"] = parameters["config"].merge(
            Config(connect_timeout=_BLOCKING_TIMEOUT, read_timeout=_BLOCKING_TIMEOUT)
        )
        return botocore.session.get_session().create_client("sqs", **parameters)

    async def queue_url(self, queue: str) -> str:
        """Return the URL of a queue; for a name or an ARN, ask SQS. Raises `ProviderError`."""
        if addresses.is_url(queue):
            return queue
        parameters = addresses.queue_parameters(queue)
        subject = errors.queue_subject(parameters["QueueName"])
        return str((await self.request("sqs", "GetQueueUrl", subject, parameters))["QueueUrl"])

    async def topic_arn(self, topic: str) -> str:
        """Return the ARN of a topic; a name costs a request.

        A name means a topic of the caller's own account in the client's region. The account is asked
        of STS, which needs no permission; looking the topic up in SNS would need one more, and
        creating it (which finds it, too) would turn a misspelt name into a topic. Raises
        `ProviderError`.
        """
        if addresses.is_arn(topic):
            return topic
        subject = f"{errors.topic_subject(topic)} (given by its ARN, it needs no request to STS)"
        try:
            region = (await self.client("sns")).meta.region_name
        except errors.REQUEST_ERRORS as exc:
            subject = errors.topic_subject(topic)
            raise errors.from_exception(exc, action="sns:Publish", subject=subject) from exc
        identity = await self.request("sts", "GetCallerIdentity", subject, {})
        return addresses.topic_arn_in_account(topic, region, identity)

    async def close(self) -> None:
        """Close every connection."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.close()
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.__aexit__(None, None, None)


class BotocoreTransport:
    """An `SQSTransport` of aiobotocore's clients.

    Long polls have a client of their own: no deletion waits for a connection that a long poll holds.
    """

    def __init__(self, request: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        self._request = request

    async def call(self, action: str, url: str, /, **parameters: Any) -> dict[str, Any]:
        """Return SQS's answer to `action`."""
        subject = errors.queue_subject(url)
        polls = action == "ReceiveMessage"
        parameters = {"QueueUrl": url, **parameters}
        return await self._request("sqs", action, subject, parameters, long_polling=polls)

    async def close(self) -> None:
        """Do nothing: the clients belong to `Clients`."""


async def open_transport(
    shared: Clients, queue: str, kind: TransportKind = "direct"
) -> SQSTransport:
    """Return the transport of shared clients; raise `ProviderError` if it cannot be opened."""
    try:
        return await shared.transport(kind)
    except errors.REQUEST_ERRORS as exc:
        subject = errors.queue_subject(queue)
        raise errors.from_exception(exc, action="Opening the client", subject=subject) from exc


def share(options: Mapping[str, Any], address: str = "", service: str = "sqs") -> Clients:
    """Return the clients for `options` (see `CLIENT_OPTIONS`) in the running loop.

    Options that are None count as not given. The region defaults to the one that `address` names,
    the URL or ARN of what `service` is asked about.
    """
    given = {name: value for name, value in options.items() if value is not None}
    region = addresses.region_of(address, given.get("endpoint_url"), service)
    if region and not given.get("region_name"):
        given["region_name"] = region
    key = frozenset(given.items())
    shared = _in_use.setdefault(asyncio.get_running_loop(), {})
    clients = shared.get(key)
    if clients is None:
        clients = shared[key] = Clients(given)
    clients.users += 1
    return clients


async def release(clients: Clients) -> None:
    """Give back what `share` returned. The last user in the loop closes the clients of all."""
    clients.users -= 1
    shared = _in_use[asyncio.get_running_loop()]
    if any(others.users for others in shared.values()):
        return
    unused = list(shared.values())
    shared.clear()
    for idle in unused:
        await idle.close()


@contextlib.asynccontextmanager
async def borrowed(
    options: Mapping[str, Any], address: str = "", service: str = "sqs"
) -> AsyncIterator[Clients]:
    """Share clients for the length of a block."""
    clients = share(options, address, service)
    try:
        yield clients
    finally:
        await release(clients)
