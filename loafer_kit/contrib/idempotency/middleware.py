"""Idempotency: the middleware that runs the handler once for each key."""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic_core import to_jsonable_python

from loafer_kit.applications import ApplicationRoute
from loafer_kit.config import check_number
from loafer_kit.contrib.idempotency.keys import ValueOf, fingerprint, message_key, reader
from loafer_kit.contrib.idempotency.stores import Record, Store
from loafer_kit.engine.callables import current_call
from loafer_kit.engine.jobs import Job
from loafer_kit.exceptions import ConfigurationError, DeleteMessage, RejectMessage, RetryMessage
from loafer_kit.logs import log_event
from loafer_kit.middleware import CallNext
from loafer_kit.outcomes import ACKNOWLEDGE, from_answer
from loafer_kit.routes import Route

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds that a record in progress lasts where messages have no leases; it is extended, too.
_WITHOUT_LEASE = 60.0

#: Seconds: the shortest pause between two looks at a lease.
_SHORTEST_PAUSE = 0.05

#: Characters: a larger answer is not kept. An item of DynamoDB may have 400 KB.
_LARGEST_RESULT = 256 * 1024


class _StoreError(Exception):
    """The store failed or did not answer."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A key that is claimed for one call of the handler."""

    key: str
    job: Job | None
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)

    def lease_left(self) -> float:
        """Return for how many seconds the message is this process's, unless its lease is extended."""
        if self.job is None or not self.job.messages:
            return _WITHOUT_LEASE
        left = self.job.route.provider.lease_left(self.job.messages[0])
        return _WITHOUT_LEASE if left is None else left


class Idempotency:
    """Middleware that lets the handler succeed once for each key, as far as `store` remembers.

    `name` says whose keys they are: services that share a store need different names, and each
    route has keys of its own. `key` and `or_message_id` are those of `message_key`. A record lasts
    `expires_after` seconds after success. While the handler runs, it lasts as long as the lease of
    the message; another message with its key is retried after that. A handler that fails deletes
    its record.

    `payload` says what must be equal in messages of one key, as a JMESPath expression over the
    content or a function of content and metadata: a message that differs is rejected. None compares
    nothing. A duplicate is acknowledged; with `replay` it gets the answer of the handler, as JSON.

    A store that fails, or does not answer within `store_timeout` seconds, has the message retried;
    with `run_unprotected`, the handler runs.

    Raises `ConfigurationError` for options that cannot work.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        key: str | ValueOf | None = None,
        or_message_id: bool = False,
        payload: str | ValueOf | None = "@",
        expires_after: float = 86_400.0,
        replay: bool = False,
        store_timeout: float = 3.0,
        run_unprotected: bool = False,
    ) -> None:
        if not name:
            raise ConfigurationError("Idempotency needs a name for its keys: the service's.")
        check_number("expires_after", expires_after, more_than=0)
        check_number("store_timeout", store_timeout, more_than=0)
        self._store = store
        self._name = name
        self._key_of = message_key(key, or_message_id=or_message_id)
        self._payload_of = None if payload is None else reader(payload, "payload")
        self._expires_after = expires_after
        self._replay = replay
        self._store_timeout = store_timeout
        self._run_unprotected = run_unprotected
        #: Records of plain handlers that run on after their time limit.
        self._outlasting: set[asyncio.Task[None]] = set()

    def check_route(self, route: Route) -> None:
        """Raise `ConfigurationError` for a route whose messages it cannot handle one by one."""
        if isinstance(route, ApplicationRoute):
            raise ConfigurationError(
                f"Application {route.name!r}: Idempotency cannot give its messages back; use a route "
                "of a LoaferManager."
            )
        if route.options.batch_handler_size is not None:
            raise ConfigurationError(
                f"Route {route.name!r}: Idempotency takes one message at a time; remove "
                "batch_handler_size."
            )

    async def __call__(self, content: Any, metadata: Any, call_next: CallNext) -> Any:
        """Call the handler unless another call has, or runs."""
        call = current_call.get()
        job = call if isinstance(call, Job) else None
        route = "" if job is None else job.route.name
        claim = _Claim(f"{self._name}/{route}/{self._key_of(content, metadata)}", job)
        payload = ""
        if self._payload_of is not None:
            payload = fingerprint(self._payload_of(content, metadata))
        seconds = claim.lease_left()
        if not seconds:
            raise RetryMessage("its lease is over")
        try:
            taken = await self._ask(self._store.claim(claim.key, claim.owner, seconds))
        except _StoreError as error:
            self._log_failure(claim, error)
            if not self._run_unprotected:
                raise RetryMessage(f"the store of its key failed: {error}") from error
            return await call_next(content, metadata)
        if taken is not None:
            return self._answer_for(claim, taken, payload)
        return await self._run(claim, payload, seconds, lambda: call_next(content, metadata))

    def _answer_for(self, claim: _Claim, taken: Record, payload: str) -> Any:
        """Return the answer for a message whose key is taken; raise to retry or reject it."""
        if not taken.is_completed:
            _log(logging.INFO, "message.held_elsewhere", claim, "its handler runs elsewhere")
            raise RetryMessage(
                "a handler of its key runs elsewhere, or has died", delay=max(0.0, taken.seconds)
            )
        if payload and taken.payload and payload != taken.payload:
            raise RejectMessage("its key was used before, with another content")
        _log(logging.INFO, "message.duplicate", claim, "it was handled before")
        if not self._replay or taken.result is None:
            return True
        return json.loads(taken.result) or True

    async def _run(self, claim: _Claim, payload: str, seconds: float, call: Any) -> Any:
        keeper = asyncio.create_task(self._keep(claim, seconds))
        threads: list[Future[Any]] = []
        try:
            answer = await call()
            succeeded = from_answer(answer) == ACKNOWLEDGE
        except DeleteMessage:
            await self._complete(claim, payload, True)
            raise
        except GeneratorExit:
            raise
        except BaseException:
            if claim.job is not None:
                threads = [thread for thread in claim.job.left_behind if not thread.done()]
            if threads:
                task = asyncio.create_task(self._outlast(claim, keeper, threads))
                self._outlasting.add(task)
                task.add_done_callback(self._outlasting.discard)
            else:
                await self._release(claim)
            raise
        finally:
            if not threads:
                keeper.cancel()
        if succeeded:
            await self._complete(claim, payload, answer)
        else:
            await self._release(claim)
        return answer

    async def _keep(self, claim: _Claim, seconds: float) -> None:
        """Extend the record whenever the lease of the message was extended."""
        loop = asyncio.get_running_loop()
        expires = loop.time() + seconds
        told = False
        while True:
            await asyncio.sleep(max(_SHORTEST_PAUSE, (expires - loop.time()) / 2))
            now, left = loop.time(), claim.lease_left()
            if not left:
                return  # another consumer may have the message
            if now + left <= expires + _SHORTEST_PAUSE:
                continue
            try:
                if not await self._ask(self._store.extend(claim.key, claim.owner, left)):
                    return
            except _StoreError as error:
                if not told:
                    self._log_failure(claim, error)
                told = True
            else:
                expires = now + left

    async def _outlast(
        self, claim: _Claim, keeper: asyncio.Task[None], threads: list[Future[Any]]
    ) -> None:
        """Keep the record until the threads of a handler that failed have ended."""
        ends = [asyncio.wrap_future(thread) for thread in threads]
        try:
            await asyncio.wait(ends)
        finally:
            keeper.cancel()
            for end in ends:
                end.cancel()  # or a thread that ends later calls a closed loop
        await self._release(claim)

    async def _complete(self, claim: _Claim, payload: str, answer: Any) -> None:
        result = self._result_of(claim, answer) if self._replay else None
        complete = self._store.complete(
            claim.key, claim.owner, payload, result, self._expires_after
        )
        try:
            if await self._ask(complete):
                return
            why = "another call had its key meanwhile"
        except _StoreError as error:
            why = str(error)
        _log(
            logging.ERROR,
            "success.unrecorded",
            claim,
            f"a duplicate would be handled again; {why}",
        )

    def _result_of(self, claim: _Claim, answer: Any) -> str | None:
        try:
            result = json.dumps(answer, default=to_jsonable_python)
        except (TypeError, ValueError, RecursionError) as error:
            why = str(error).partition("\n")[0]
        else:
            if len(result) <= _LARGEST_RESULT:
                return result
            why = f"it has {len(result):,} characters"
        _log(logging.ERROR, "answer.dropped", claim, f"duplicates get True; {why}")
        return None

    async def _release(self, claim: _Claim) -> None:
        try:
            await self._ask(self._store.release(claim.key, claim.owner))
        except _StoreError as error:
            self._log_failure(claim, error)

    async def _ask(self, request: Awaitable[_T]) -> _T:
        """Return the store's answer. Raises `_StoreError`."""
        try:
            async with asyncio.timeout(self._store_timeout):
                return await request
        except TimeoutError as error:
            raise _StoreError(f"no answer within {self._store_timeout:g} s") from error
        except Exception as error:
            why = " ".join(str(error).split())
            raise _StoreError(f"{type(error).__name__}: {why}") from error

    def _log_failure(self, claim: _Claim, error: _StoreError) -> None:
        _log(logging.WARNING, "store.failed", claim, str(error))


def _log(level: int, event: str, claim: _Claim, text: str) -> None:
    log_event(logger, level, event, {"key": claim.key}, text)
