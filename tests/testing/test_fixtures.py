"""The fixtures for tests of services."""

import contextlib

from loafer_kit.local import LocalQueues


def test_local_queues_begin_empty(request, local_server):
    """Whatever else has used the server before."""
    with contextlib.closing(LocalQueues(local_server.url)) as others:
        others.create("orders")

    assert request.getfixturevalue("local_queues").names() == []
