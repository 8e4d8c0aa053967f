"""Clients: blocking requests to SQS and SNS, for tools and tests. It imports botocore."""

import os
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError  # noqa: A004
from botocore.parsers import ResponseParserError
from botocore.session import Session

from loafer_kit.exceptions import ServiceError
from loafer_kit.ext.aws.addresses import find_region, region_of
from loafer_kit.local.servers import ACCESS_KEY_ID, DEFAULT_REGION, SECRET_ACCESS_KEY

# Where botocore reads each variable from: (configuration key, environment, default, type).
_NO_CONFIGURATION = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


class Clients:
    """One client for each of SQS and SNS.

    `endpoint_url` None means AWS, with the user's configuration; the region is then the one that
    `address`, a queue's URL, names, or the configured one. `region` is for a local server.
    """

    def __init__(
        self, endpoint_url: str | None = None, region: str = DEFAULT_REGION, *, address: str = ""
    ) -> None:
        self.endpoint_url = endpoint_url
        self._region = region
        self._address = address
        self._clients: dict[str, Any] = {}
        self._session: Any = None

    @property
    def session(self) -> Any:
        """The botocore session; for a local server it reads no configuration file."""
        if self._session is None:
            self._session = Session(
                session_vars=None if self.endpoint_url is None else _NO_CONFIGURATION
            )
        return self._session

    @property
    def options(self) -> dict[str, Any]:
        """The options with which other clients ask the same server."""
        if self.endpoint_url is None:
            return {}
        return {
            "endpoint_url": self.endpoint_url,
            "region_name": self._region,
            "aws_access_key_id": ACCESS_KEY_ID,
            "aws_secret_access_key": SECRET_ACCESS_KEY,
        }

    def aws_region(self) -> str | None:
        """Return the region of requests to AWS."""
        return find_region(self.session, region_of(self._address))

    def call(self, service: str, operation: str, **parameters: Any) -> Any:
        """Return the answer to one operation; raise `ServiceError` of one line."""
        try:
            return getattr(self._client(service), operation)(**parameters)
        except ClientError as error:
            reason = error.response["Error"]
            raise ServiceError(
                f"{_subject(parameters)}{reason.get('Message') or error}", reason.get("Code", "")
            ) from error
        except BotoCoreError as error:
            if self.endpoint_url is not None and isinstance(error, ConnectionError):
                message = f"Nothing answers on {self.endpoint_url}: start a server there"
                raise ServiceError(f"{message}, or name another") from error
            raise ServiceError(f"{_subject(parameters)}{error}") from error
        except ResponseParserError as error:
            raise ServiceError(
                f"{_subject(parameters)}what answered to {operation} is not AWS"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            try:
                self._clients[service] = self.session.create_client(service, **self._options())
            except ValueError as error:
                raise ServiceError(
                    f"{error}: name a server by its URL, as in http://127.0.0.1:4566"
                ) from error
        return self._clients[service]

    def _options(self) -> dict[str, Any]:
        if self.endpoint_url is None:
            return {"region_name": self.aws_region()}
        return {**self.options, "config": Config(proxies={})}


def _subject(parameters: dict[str, Any]) -> str:
    for name in ("QueueName", "QueueUrl", "TopicArn", "Name"):
        if name in parameters:
            return f"{parameters[name].rpartition('/')[2]}: "
    return ""
