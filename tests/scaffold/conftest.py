"""Services that are generated with what ships them, in memory."""

import pytest

from loafer_kit.scaffold.rendering import builtin, contexts, templates
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft

# One of everything: a plain queue, dead letters, order, own and foreign topics, a URL.
QUEUES = [
    {"name": "orders", "dead_letter_queue": "orders-dlq", "visibility_timeout": 60},
    {"name": "orders-created", "dead_letter_queue": "orders-dlq", "max_receive_count": 3},
    {"name": "news.fifo", "kind": "sns", "dead_letter_queue": "news-dlq.fifo"},
    {"name": "prices", "topic": "arn:aws:sns:eu-central-1:210987654321:prices", "concurrency": 50},
    {"name": "slow", "handler_timeout": 1200, "concurrency": 4, "rate_limit": 0.5},
    {"name": "https://sqs.eu-west-1.amazonaws.com/123456789012/old", "handler": "on_old"},
]


def _spec(*queues, name="foobar", wanted=()):
    values = {"name": name, "package": "foobar", "queues": list(queues), "with": list(wanted)}
    return validation.service(Draft(values))


@pytest.fixture(scope="session")
def spec_of():
    """Make a spec: `spec_of(queue, …, wanted=(artefact, …))`."""
    return _spec


@pytest.fixture(scope="session")
def ship():
    """Render a service's files: `ship(artefact, …, queues=…)`."""

    def ship(*wanted, queues=QUEUES, name="foobar"):
        context = contexts.service(_spec(*queues, name=name, wanted=wanted))
        plan = builtin.render(templates.builtin("service"), context).plan
        return {path: content.decode() for path, content in plan.files.items()}

    return ship
