"""The fixtures for tests of services."""

import contextlib

from loafer_kit.local import LocalQueue, LocalQueues


def test_local_queues_begin_empty(request, local_server):
    """Whatever else has used the server before."""
    with contextlib.closing(LocalQueues(local_server.url)) as others:
        others.create(LocalQueue("orders", topic="news"))

    queues = request.getfixturevalue("local_queues")
    assert queues.names() == []
    assert queues._clients.call("sns", "list_topics")["Topics"] == []
