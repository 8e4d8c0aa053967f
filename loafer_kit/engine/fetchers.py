"""Fetches for one route: how many fetches are open, when they back off, how they end."""

import asyncio
import contextlib
import contextvars
import itertools
import logging
from collections.abc import Callable, Sequence

from loafer_kit.engine.flow import full_jitter
from loafer_kit.exceptions import ProviderError, TransientProviderError
from loafer_kit.logs import log_event
from loafer_kit.routes import Route
from loafer_kit.types import Message

logger = logging.getLogger(__name__)

#: Seconds: the first and the longest pause after a fetch that failed for a passing reason.
_BACKOFF, _LONGEST_BACKOFF = 0.2, 30.0

#: Seconds: a fetch that returns nothing sooner than this did not wait for messages. The route then
#: pauses, up to the longest pause, so that it does not ask an idle source in a tight loop.
_IMMEDIATELY, _LONGEST_PAUSE = 0.05, 1.0

#: Seconds that a cancelled fetch gets to end.
_CANCEL_GRACE = 5.0


class PollScaler:
    """Decides how many fetches of a route are open at once, from 1 to `maximum`.

    One while the source is empty, one more for each full response that found idle slots. Only
    responses to full-sized fetches count; how long handlers take has no influence.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.wanted = 1

    def observe(self, received: int, limit: int, batch_size: int, *, slots_idle: bool) -> None:
        """Adapt to a response of `received` messages to a fetch for up to `limit`."""
        if received == 0:
            self.wanted = 1
        elif limit < batch_size:
            return
        elif received < limit:
            self.wanted = max(1, self.wanted - 1)
        elif slots_idle:
            self.wanted = min(self.maximum, self.wanted + 1)

    def failed(self) -> None:
        """Drop to one fetch, which is enough to notice that the source is back."""
        self.wanted = 1


def fetch_limit(*, in_hand: int, handled_at_once: int, room: int, batch_size: int) -> int:
    """Return how many messages the next fetch may bring; 0 for no fetch.

    `room` is the number of messages that may be in hand. A fetch starts when a full batch fits, or
    when a slot would idle without it. Fetching one message each time a handler ends would cost one
    request per message.
    """
    left = room - in_hand
    if left >= batch_size:
        return batch_size
    return max(0, left) if in_hand < handled_at_once else 0


class Fetcher:
    """The open fetches of one route.

    `arrived(messages)` gets the result of a fetch, `failed(error)` an error that stops the route.
    `slots_idle()` is true while the route could start more handlers.
    """

    def __init__(
        self,
        route: Route,
        *,
        arrived: Callable[[Sequence[Message]], None],
        failed: Callable[[BaseException], None],
        slots_idle: Callable[[], bool],
    ) -> None:
        self.scaler = PollScaler(route.provider.max_receivers)
        #: The most messages that the open fetches may still bring.
        self.expected = 0
        self._name = route.name
        self._provider = route.provider
        self._events = route.provider.route_events
        self._arrived = arrived
        self._failed = failed
        self._slots_idle = slots_idle
        self._context = contextvars.copy_context()
        self._open: set[asyncio.Task[Sequence[Message]]] = set()
        self._stopping = asyncio.Event()
        self._empty_in_a_row = 0
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def wait(self) -> float:
        """Return the seconds until the next fetch may start."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    def start(self, limit: int) -> None:
        """Open a fetch for up to `limit` messages."""
        self.expected += limit
        # The end of a handler often starts the next fetch, which must not see that handler's
        # context variables.
        task = asyncio.get_running_loop().create_task(
            self._fetch(limit), name=f"fetch {self._name}", context=self._context.copy()
        )
        self._open.add(task)
        task.add_done_callback(lambda done: self._returned(done, limit))

    def stop(self) -> None:
        """End the fetches that back off; from now on a cancelled fetch is not an error."""
        self._stopping.set()

    def cancel(self) -> None:
        """Cancel the open fetches; the source redelivers what it may have handed out."""
        self.stop()
        for task in self._open:
            task.cancel()

    async def finish(self) -> None:
        """Let the open fetches return within the provider's `poll_grace`, then cancel them.

        A response may already be on its way: cancelling it at once would hide its messages until
        their visibility timeout ends.
        """
        self.stop()
        if not self._open:
            return
        grace = self._provider.poll_grace
        self._log(logging.INFO, "fetch.finishing", open=len(self._open), within=grace)
        _, late = await asyncio.wait(self._open, timeout=grace)
        if late:
            self._log(logging.WARNING, "fetch.cancelled", open=len(late))
            self.cancel()
            _, stuck = await asyncio.wait(late, timeout=_CANCEL_GRACE)
            if stuck:
                self._log(logging.ERROR, "fetch.stuck", "left behind", open=len(stuck))

    async def _fetch(self, limit: int) -> Sequence[Message]:
        loop = asyncio.get_running_loop()
        for attempt in itertools.count():
            started = loop.time()
            try:
                messages = await self._provider.fetch(limit)
            except TransientProviderError as error:
                self._tell_polled(0, loop.time() - started, error)
                await self._back_off(attempt, error)
                if self._stopping.is_set():
                    break
            except (SystemExit, KeyboardInterrupt) as error:  # they would end the loop, undrained
                raise ProviderError(f"Route {self._name!r}: its fetch raised {error!r}.") from error
            except Exception as error:
                self._tell_polled(0, loop.time() - started, error)
                raise
            else:
                elapsed = loop.time() - started
                self._tell_polled(len(messages), elapsed, None)
                self._observe(len(messages), limit, elapsed)
                return messages
        return ()

    def _tell_polled(self, received: int, seconds: float, error: BaseException | None) -> None:
        if (tell := self._events.polled) is not None:
            tell(received, seconds, error)

    async def _back_off(self, attempt: int, error: TransientProviderError) -> None:
        self.scaler.failed()
        delay = full_jitter(attempt, base=_BACKOFF, cap=_LONGEST_BACKOFF)
        delay = max(delay, error.retry_after or 0.0)
        reason = str(error)
        self._log(logging.WARNING, "fetch.failed", reason, retry_in=delay, reason=reason)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)

    def _observe(self, received: int, limit: int, elapsed: float) -> None:
        self.scaler.observe(
            received, limit, self._provider.batch_size, slots_idle=self._slots_idle()
        )
        if received or elapsed > _IMMEDIATELY:
            self._empty_in_a_row = 0
            return
        pause = min(_LONGEST_PAUSE, _IMMEDIATELY * 2**self._empty_in_a_row)
        self._empty_in_a_row = min(self._empty_in_a_row + 1, 10)
        self._not_before = asyncio.get_running_loop().time() + pause

    def _log(self, level: int, event: str, text: str = "", **facts: object) -> None:
        log_event(logger, level, event, {"route": self._name, **facts}, text)

    def _returned(self, task: asyncio.Task[Sequence[Message]], limit: int) -> None:
        self._open.discard(task)
        self.expected -= limit
        if task.cancelled():
            if not self._stopping.is_set():
                self._failed(ProviderError(f"Route {self._name!r}: its fetch was cancelled."))
            return
        if (error := task.exception()) is not None:
            self._failed(error)
            return
        try:
            self._arrived(task.result())
        except Exception as failure:  # noqa: BLE001 - a done callback cannot raise to anybody
            self._failed(failure)
