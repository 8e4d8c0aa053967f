"""The table of a spec's keys, held against the options that the runtime takes."""

import pytest

from loafer_kit.config import ROUTE_OPTIONS
from loafer_kit.ext.aws import envelopes
from loafer_kit.ext.aws.options import SQS_SETTINGS
from loafer_kit.ext.aws.routes import SQSRoute
from loafer_kit.scaffold.spec.fields import ENVELOPES, OPTIONS, Field

#: What a spec cannot say: exceptions are Python, a batch handler has another signature, and the
#: transport is a matter of the machine.
IN_CODE_ONLY = {
    "reject_on",
    "breaker_exceptions",
    "batch_handler_size",
    "batch_handler_wait",
    "transport",
}

#: What a spec says in another place: among a queue's own keys, or as an option of ReceiveMessage.
ELSEWHERE = {"dead_letter_queue", "visibility_timeout"}


def test_every_option_of_a_route_can_stand_in_a_spec():
    """A new option of the runtime is missed here until it has its row."""
    in_spec = {field.keyword for field in OPTIONS if field.keyword}
    assert in_spec == (ROUTE_OPTIONS | SQS_SETTINGS) - IN_CODE_ONLY - ELSEWHERE


def test_every_envelope_is_a_kind_of_queue():
    """By the name that generated code imports, and that `send --as` takes."""
    for name, envelope in envelopes.ENVELOPES.items():
        assert getattr(envelopes, name) is envelope
    assert {"sns", *ENVELOPES} == set(envelopes.ENVELOPES)


def bounds(field: Field):
    least = field.minimum if field.minimum is not None else (field.more_than or 0) + 1
    return [True, False] if field.kind == "boolean" else [least, field.maximum or least + 1]


async def handler(message, metadata):
    return True


@pytest.mark.parametrize("field", OPTIONS, ids=lambda field: field.name)
def test_what_a_spec_allows_the_route_accepts(field):
    """The bounds of the spec lie within those of the runtime."""
    for value in bounds(field):
        if field.receive:
            SQSRoute("orders", {"options": {field.receive: value}}, handler=handler)
        else:
            SQSRoute("orders", handler=handler, **{field.keyword: value})
