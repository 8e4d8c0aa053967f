"""Settings for every test."""

import asyncio
from pathlib import Path

import uvloop
from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("soak", deadline=None, max_examples=5_000)
settings.load_profile("default")

#: The tests of what runs in an event loop, by folder: they run on uvloop too.
_ON_BOTH_LOOPS = [Path(__file__).parent / folder for folder in ("engine", "faults")]


def pytest_asyncio_loop_factories(config, item):
    """Run a test's coroutine on asyncio's event loop, and on uvloop's where that may differ."""
    factories = {"asyncio": asyncio.new_event_loop}
    if any(item.path.is_relative_to(folder) for folder in _ON_BOTH_LOOPS):
        factories["uvloop"] = uvloop.new_event_loop
    return factories
