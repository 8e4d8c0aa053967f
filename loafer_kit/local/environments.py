"""Environment variables that direct a process to a local server and keep it away from AWS."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

#: Keys that a local server accepts and AWS does not.
ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 - not a secret

DEFAULT_REGION = "us-east-1"

_LOOPBACK = frozenset(["127.0.0.1", "::1", "localhost"])


def is_local(endpoint_url: str | None) -> bool:
    """Return whether an endpoint is on this machine; raise `ValueError` if it is not a URL."""
    return endpoint_url is not None and urlsplit(endpoint_url).hostname in _LOOPBACK


def environment(url: str, region: str = DEFAULT_REGION) -> dict[str, str]:
    """Return the AWS variables for the server at `url`.

    They also set the endpoint of each service, which takes precedence over `AWS_ENDPOINT_URL`, hide
    the user's configuration files, whose profiles may set endpoints, and bypass a proxy.
    """
    return {
        **_no_proxy(),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL_SQS": url,
        "AWS_ENDPOINT_URL_SNS": url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def child_environment(
    url: str, base: Mapping[str, str] | None = None, region: str = DEFAULT_REGION
) -> dict[str, str]:
    """Return `base` (by default this process's) with its AWS variables replaced by `environment`.

    So no profile, session token or role of the user reaches the child process.
    """
    source = os.environ if base is None else base
    kept = {name: value for name, value in source.items() if not name.startswith("AWS_")}
    return kept | environment(url, region)


def _no_proxy() -> dict[str, str]:
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    hosts = f"{known},127.0.0.1" if known else "127.0.0.1"
    return {"no_proxy": hosts, "NO_PROXY": hosts}
