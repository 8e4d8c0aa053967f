"""Help for the tests of a service: pytest fixtures and stand-ins, all of them real code.

This is the pytest plugin, loaded by every run of an environment that has loafer_kit: it imports
little, and its parts import what they need when they are used.
"""

from loafer_kit.testing.deliveries import deliver
from loafer_kit.testing.fixtures import local_queues, local_server
from loafer_kit.testing.messages import sns_message, sqs_message
from loafer_kit.testing.providers import InMemoryProvider

__all__ = [
    "InMemoryProvider",
    "deliver",
    "local_queues",
    "local_server",
    "sns_message",
    "sqs_message",
]
