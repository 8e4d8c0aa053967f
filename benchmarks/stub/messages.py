"""A message on a queue, rendered to JSON once, when it is sent."""

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.stub.digests import md5_of_attributes, md5_of_body

Attributes = Mapping[str, Mapping[str, Any]]

SENDER_ID = "000000000000"


@dataclass(frozen=True, slots=True)
class Payload:
    """What a producer sent; the copies of a filled queue share one."""

    body: str
    attributes: Attributes
    md5_of_body: str
    md5_of_attributes: str | None
    rendered: bytes

    @classmethod
    def of(cls, body: str, attributes: Attributes) -> "Payload":
        md5 = md5_of_body(body)
        rendered = f'"MD5OfBody":"{md5}","Body":{json.dumps(body)}'.encode()
        attributes_md5 = md5_of_attributes(attributes) if attributes else None
        return cls(body, attributes, md5, attributes_md5, rendered)

    def render_attributes(self, wanted: Collection[str]) -> bytes:
        """Render the message attributes asked for by name, by prefix (`foo.*`) or by `All`."""
        chosen = {name: self.attributes[name] for name in self.attributes if _asked(name, wanted)}
        if not chosen:
            return b""
        md5 = md5_of_attributes(chosen)
        return (
            f',"MD5OfMessageAttributes":"{md5}","MessageAttributes":{json.dumps(chosen)}'.encode()
        )


@dataclass(slots=True)
class StoredMessage:
    """One message: `deadline` is when it becomes visible again, None while it is visible."""

    message_id: str
    key: str
    payload: Payload
    sent_at: int = field(default_factory=lambda: round(time.time() * 1000))
    first_received_at: int = 0
    receive_count: int = 0
    receipt_handle: str = ""
    deadline: float | None = None

    def render(self, system_attributes: Collection[str], attributes: Collection[str]) -> bytes:
        head = f'{{"MessageId":"{self.message_id}","ReceiptHandle":"{self.receipt_handle}",'
        parts = [head.encode(), self.payload.rendered]
        if system_attributes:
            parts.append(self._render_system_attributes(system_attributes))
        if attributes and self.payload.attributes:
            parts.append(self.payload.render_attributes(attributes))
        parts.append(b"}")
        return b"".join(parts)

    def _render_system_attributes(self, wanted: Collection[str]) -> bytes:
        known = {
            "SenderId": SENDER_ID,
            "SentTimestamp": self.sent_at,
            "ApproximateReceiveCount": self.receive_count,
            "ApproximateFirstReceiveTimestamp": self.first_received_at,
        }
        chosen = (
            known if "All" in wanted else {name: known[name] for name in wanted if name in known}
        )
        pairs = ",".join([f'"{name}":"{value}"' for name, value in chosen.items()])
        return f',"Attributes":{{{pairs}}}'.encode()


def _asked(name: str, wanted: Collection[str]) -> bool:
    if "All" in wanted or ".*" in wanted or name in wanted:
        return True
    return any(each.endswith(".*") and name.startswith(each[:-2]) for each in wanted)
