"""Blocking functions that publish, for shells, scripts and tests. A service uses `handlers`."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from loafer_kit.ext.aws.handlers import (
    Answer,
    Encoder,
    SNSHandler,
    SQSHandler,
)
from loafer_kit.ext.aws.producer import json_text


def sqs_publish(queue: str, message: Any) -> Answer:
    """Send one message to a queue (name, URL or ARN) and return SQS's answer.

    Text is sent as it is, anything else as JSON. Blocks until it is sent. Raises `ProviderError`.
    """
    return _wait_for(SQSHandler(queue).publish(message, _encoder(message)))


def sns_publish(topic: str, message: Any) -> Answer:
    """Publish one message to a topic (name or ARN) and return SNS's answer; as `sqs_publish`."""
    return _wait_for(SNSHandler(topic).publish(message, _encoder(message)))


def _encoder(message: Any) -> Encoder:
    return None if isinstance(message, str) else json_text


def _wait_for(request: Coroutine[Any, Any, Answer]) -> Answer:
    """Run in another thread: the caller may have a running loop (a notebook has one)."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(copy_context().run, asyncio.run, request).result()
