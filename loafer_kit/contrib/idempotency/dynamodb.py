"""DynamoDBStore: keeps records in a table of DynamoDB, whose clock counts."""

import email.utils
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from loafer_kit.contrib.idempotency.stores import Record
from loafer_kit.exceptions import ConfigurationError, ProviderError
from loafer_kit.ext.aws.requests import clients, errors
from loafer_kit.ext.aws.requests.clients import CLIENT_OPTIONS, Clients

_NAMES = {
    "#key": "id",
    "#owner": "owner",
    "#expires": "expires_at",
    "#ttl": "expiration",
    "#payload": "payload",
}
_IS_MINE = "#owner = :owner AND attribute_not_exists(#payload)"


class DynamoDBStore:
    """A store in the table of this name, which must have the partition key `id`, a string.

    Set `expiration` as the table's time-to-live attribute: DynamoDB then deletes expired records.
    The credentials need GetItem, PutItem, UpdateItem and DeleteItem. `options` are the client's, as
    of `SQSHandler`. Have `close` called when the service ends: `manager.teardown(store.close)`.

    The clocks of machines may differ: each is corrected by DynamoDB's, to about a second.
    """

    def __init__(self, table: str, clock: Callable[[], float] = time.time, **options: Any) -> None:
        if unknown := options.keys() - CLIENT_OPTIONS:
            raise ConfigurationError(f"DynamoDBStore has no option {min(unknown)!r}.")
        self._table = table
        self._clock = clock
        self._options = options
        self._clients: Clients | None = None
        #: Seconds from this machine's time to DynamoDB's; None before the first answer.
        self._offset: float | None = None

    async def claim(self, key: str, owner: str, seconds: float) -> Record | None:
        if self._offset is None:  # any answer tells DynamoDB's time
            await self._request("GetItem", Key={"id": {"S": key}})
        now = self._now()
        found = await self._request(
            "PutItem",
            Item=_item(key, owner, now + seconds),
            ConditionExpression="attribute_not_exists(#key) OR #expires <= :now",
            ExpressionAttributeValues={":now": _number(now)},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        if found is None:
            return None
        return Record(
            seconds=max(0.0, float(found["expires_at"]["N"]) - self._now()),
            is_completed="payload" in found,
            payload=found.get("payload", {}).get("S", ""),
            result=found.get("result", {}).get("S"),
        )

    async def extend(self, key: str, owner: str, seconds: float) -> bool:
        now = self._now()
        refused = await self._request(
            "UpdateItem",
            Key={"id": {"S": key}},
            UpdateExpression="SET #expires = :expires, #ttl = :ttl",
            ConditionExpression=f"{_IS_MINE} AND #expires > :now",
            ExpressionAttributeValues={
                ":owner": {"S": owner},
                ":now": _number(now),
                ":expires": _number(now + seconds),
                ":ttl": _whole(now + seconds),
            },
        )
        return refused is None

    async def complete(
        self, key: str, owner: str, payload: str, result: str | None, seconds: float
    ) -> bool:
        now = self._now()
        item = {**_item(key, owner, now + seconds), "payload": {"S": payload}}
        if result is not None:
            item["result"] = {"S": result}
        refused = await self._request(
            "PutItem",
            Item=item,
            ConditionExpression=f"attribute_not_exists(#key) OR #expires <= :now OR ({_IS_MINE})",
            ExpressionAttributeValues={":owner": {"S": owner}, ":now": _number(now)},
        )
        return refused is None

    async def release(self, key: str, owner: str) -> None:
        await self._request(
            "DeleteItem",
            Key={"id": {"S": key}},
            ConditionExpression=_IS_MINE,
            ExpressionAttributeValues={":owner": {"S": owner}},
        )

    async def close(self, _service: object = None) -> None:
        """Close the connections; they are opened again at the next use."""
        shared, self._clients = self._clients, None
        if shared is not None:
            await clients.release(shared)

    async def _request(self, action: str, **parameters: Any) -> Mapping[str, Any] | None:
        """Return None, or the item if it does not meet the condition. Raises `ProviderError`."""
        if self._clients is None:
            self._clients = clients.share(self._options, service="dynamodb")
        used = f"{parameters.get('UpdateExpression')} {parameters.get('ConditionExpression')}"
        if names := {name: found for name, found in _NAMES.items() if name in used}:
            parameters["ExpressionAttributeNames"] = names
        asked = self._clock()
        subject = f"Table {self._table!r}"
        try:
            answer = await self._clients.request(
                "dynamodb", action, subject, {"TableName": self._table, **parameters}
            )
        except ProviderError as error:
            cause = error.__cause__
            if not isinstance(cause, ClientError):
                raise
            if errors.client_error_code(cause) != "ConditionalCheckFailedException":
                raise
            self._learn_time(asked, cause.response)
            item: Mapping[str, Any] = cause.response.get("Item", {})
            return item
        self._learn_time(asked, answer)
        return None

    def _learn_time(self, asked: float, answer: Mapping[str, Any]) -> None:
        """Correct the clock as far as an answer proves it wrong.

        DynamoDB tells its time in whole seconds, of some moment between question and answer.
        """
        date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
        second = email.utils.parsedate_to_datetime(date).timestamp()
        least, most = second - self._clock(), second + 1 - asked
        self._offset = least if least > 0 else min(most, 0.0)

    def _now(self) -> float:
        return self._clock() + (self._offset or 0.0)


def _item(key: str, owner: str, expires: float) -> dict[str, Any]:
    return {
        "id": {"S": key},
        "owner": {"S": owner},
        "expires_at": _number(expires),
        "expiration": _whole(expires),
    }


def _number(moment: float) -> dict[str, str]:
    return {"N": f"{moment:.3f}"}


def _whole(moment: float) -> dict[str, str]:
    return {"N": str(int(moment) + 1)}
