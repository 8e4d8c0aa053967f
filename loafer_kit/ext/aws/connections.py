"""What the direct transport takes over from botocore: the endpoint, credentials, TLS, timeouts."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiobotocore.credentials import AioCredentials
from aiobotocore.httpsession import AIOHTTPSession
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.ext.aws.direct import DirectTransport
from loafer_kit.ext.aws.endpoint import Credentials, Endpoint
from loafer_kit.ext.aws.signing import Signer

#: AWS closes a connection that was idle for 20 seconds; ours are dropped before.
_KEEP_ALIVE = 12.0


def can_serve(client: Any) -> bool:
    """Tell whether the direct transport does all that an (open) SQS client was configured to do.

    Proxies, client certificates, aiohttp connector arguments, FIPS or dual-stack endpoints and
    signatures other than Signature Version 4 are left to botocore.
    """
    config = client.meta.config
    return bool(
        client.meta.service_model.resolved_protocol == "json"
        and config.signature_version == "v4"
        and config.http_session_cls is AIOHTTPSession
        and set(config.connector_args or ()) <= {"keepalive_timeout"}
        and not config.client_cert
        and not config.use_fips_endpoint
        and not config.use_dualstack_endpoint
        and not config.proxies
        and not get_environ_proxies(client.meta.endpoint_url)
    )


async def connect(session: Any, client: Any, options: Mapping[str, Any]) -> DirectTransport:
    """Return a transport that behaves as `client`, which `session` made with `options`."""
    config = client.meta.config
    url = client.meta.endpoint_url
    signer = Signer(url, client.meta.region_name, client.meta.service_model.signing_name)
    credentials = await _credentials(session, options)
    verification = await _ssl(session, url, options.get("verify"))
    return DirectTransport(
        Endpoint(url, signer, credentials, _http(config, verification)),
        Endpoint(url, signer, credentials, _http(config, verification)),
        connect_timeout=config.connect_timeout,
        read_timeout=config.read_timeout,
    )


def _http(config: Any, verification: ssl.SSLContext | bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=config.max_pool_connections, keepalive_timeout=_KEEP_ALIVE, ssl=verification
        ),
        headers={"User-Agent": config.user_agent},
        skip_auto_headers=("Accept", "Accept-Encoding"),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def _credentials(session: Any, options: Mapping[str, Any]) -> Credentials | None:
    key, secret = options.get("aws_access_key_id"), options.get("aws_secret_access_key")
    if key is not None and secret is not None:
        given: Credentials = AioCredentials(key, secret, options.get("aws_session_token"))
        return given
    found: Credentials | None = await session.get_credentials()
    return found


async def _ssl(session: Any, url: str, verify: bool | str | None) -> ssl.SSLContext | bool:
    """Return what aiohttp is to verify with, chosen as botocore chooses it."""
    if not url.startswith("https:"):
        return True
    if verify is None:
        verify = session.get_config_variable("ca_bundle")
    if verify is None:
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    return await asyncio.to_thread(_ssl_context, verify) if verify else False


def _ssl_context(verify: bool | str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bundle = get_cert_path(verify)
    try:
        context.load_verify_locations(bundle)
    except OSError as error:
        raise ConfigurationError(
            f"The CA bundle {bundle!r} (verify, AWS_CA_BUNDLE) cannot be read: {error}"
        ) from error
    return context
