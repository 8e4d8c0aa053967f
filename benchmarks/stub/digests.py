"""The MD5 digests that SQS answers with, so that clients which check them are content."""

import base64
import hashlib
import struct
from collections.abc import Mapping
from typing import Any


def md5_of_body(body: str) -> str:
    return hashlib.md5(body.encode()).hexdigest()


def md5_of_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Digest message attributes as AWS documents it: sorted by name, every part length-prefixed."""
    digest = hashlib.md5()
    for name in sorted(attributes):
        attribute = attributes[name]
        data_type: str = attribute["DataType"]
        digest.update(_with_length(name.encode()))
        digest.update(_with_length(data_type.encode()))
        if data_type.startswith("Binary"):
            digest.update(b"\x02" + _with_length(base64.b64decode(attribute["BinaryValue"])))
        else:
            digest.update(b"\x01" + _with_length(attribute["StringValue"].encode()))
    return digest.hexdigest()


def _with_length(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
