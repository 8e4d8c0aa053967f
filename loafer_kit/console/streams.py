"""Streams: what every open page shows, sent as server-sent events when it changes."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

#: The most pages that are open at once.
_MOST_STREAMS = 16

#: Seconds that a page gets to read what it was sent, and between two signs of life.
_WRITE_TIME, _BEAT_EVERY = 10.0, 15.0


class Streams:
    """Sends the newest state of each topic to every open page.

    A page that reads slowly misses states in between: for each topic it is owed one, the newest.
    `opened` is called for each new page.
    """

    def __init__(self, opened: Callable[[], object] = lambda: None) -> None:
        self._opened = opened
        self._frames: dict[str, bytes] = {}
        self._pages: set[_Page] = set()
        self._closed = False

    @property
    def are_watched(self) -> bool:
        """Whether a page is open."""
        return bool(self._pages)

    def publish(self, topic: str, state: Any) -> None:
        """Send the state of a topic to every page, now and when it opens, unless it is known."""
        frame = f"event: {topic}\ndata: {json.dumps(state)}\n\n".encode()
        if self._frames.get(topic) != frame:
            self._frames[topic] = frame
            for page in self._pages:
                page.owe(topic, frame)

    def close(self) -> None:
        """End all streams, and those that would be opened."""
        self._closed = True
        for page in self._pages:
            page.news.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send events until the page goes away."""
        if len(self._pages) >= _MOST_STREAMS:
            error = f"{_MOST_STREAMS} pages are open already: close one"
            return web.json_response({"error": error}, status=503)
        page = _Page(self._frames)
        self._pages.add(page)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            self._opened()
            await response.prepare(request)
            while not self._closed:
                async with asyncio.timeout(_WRITE_TIME):
                    await response.write(page.take() or b": beat\n\n")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(page.news.wait(), _BEAT_EVERY)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionResetError:
            pass
        finally:
            self._pages.discard(page)
        return response


class _Page:
    """What one page has not been sent yet."""

    def __init__(self, frames: dict[str, bytes]) -> None:
        self._owed = dict(frames)
        self.news = asyncio.Event()

    def owe(self, topic: str, frame: bytes) -> None:
        self._owed[topic] = frame
        self.news.set()

    def take(self) -> bytes:
        self.news.clear()
        frames = b"".join(self._owed.values())
        self._owed.clear()
        return frames
