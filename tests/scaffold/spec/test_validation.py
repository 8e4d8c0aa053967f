"""From drafts to specs: defaults, and every problem with its place; the schema refuses the same."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scaffold.any_specs import few, specs, valid

from loafer_kit.scaffold.spec import fields, validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError


def spec(*queues, name="foobar", **more):
    return validation.service(Draft({"name": name, "queues": list(queues), **more}))


def problems(*queues, **more):
    with pytest.raises(SpecError) as caught:
        spec(*queues, **more)
    return {problem.place: problem.message for problem in caught.value.problems}


def test_a_name_and_a_queue_are_enough():
    """Everything else has a default."""
    service = spec({"name": "loafer-test"})

    assert (service.name, service.package) == ("foobar", "foobar")
    (queue,) = service.queues
    assert (queue.kind, queue.handler, queue.topic) == ("sqs", "handle_loafer_test", None)
    assert (queue.error_handler, queue.translator, queue.dead_letter_queue) == (None, None, None)
    assert (queue.fifo, dict(queue.options)) == (False, {"handler_timeout": 60})


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ({}, 60),
        ({"handler_timeout": 5}, 5),
        ({"max_processing_time": 20}, 20),
        ({"max_processing_time": 200}, 60),
        ({"heartbeat": True, "visibility_timeout": 10}, 60),
        ({"heartbeat": False, "visibility_timeout": 45}, 45),
        ({"heartbeat": False}, 30),
    ],
)
def test_a_handler_has_a_minute_unless_its_message_comes_back_before(more, seconds):
    """A handler that hangs ends; without a heartbeat nothing keeps its message hidden."""
    (queue,) = spec({"name": "orders", **more}).queues

    assert queue.options["handler_timeout"] == seconds


def test_the_package_is_made_from_the_name_unless_it_is_given():
    """`Foo-Bar` is imported as `foo_bar`; `package` says otherwise."""
    assert spec({"name": "q"}, name="Foo-Bar").package == "foo_bar"
    assert spec({"name": "q"}, name="asyncio-service", package="worker").package == "worker"


def test_a_name_that_hides_a_module_is_fine_with_a_package_of_another_name():
    """Only the package is imported."""
    assert spec({"name": "q"}, name="2nd", package="second").package == "second"


def test_fifo_is_implied_by_the_name():
    """SQS says it by the name's end, and so does the spec."""
    assert spec({"name": "orders.fifo"}).queues[0].fifo
    assert not spec({"name": "orders"}).queues[0].fifo


def test_a_topic_makes_an_sns_queue_and_an_sns_queue_has_a_topic():
    """The topic is named as the queue unless it is given."""
    assert spec({"name": "q", "topic": "t"}).queues[0].kind == "sns"
    assert spec({"name": "q", "kind": "sns"}).queues[0].topic == "q"


@pytest.mark.parametrize(
    ("queue", "envelopes"),
    [
        ({}, ()),
        ({"kind": "sns"}, ("sns",)),
        ({"topic": "t", "raw_message_delivery": True}, ()),
        ({"kind": "eventbridge"}, ("eventbridge",)),
        ({"kind": "s3", "topic": "t"}, ("sns", "s3")),
        ({"kind": "s3", "topic": "t", "raw_message_delivery": True}, ("s3",)),
    ],
)
def test_the_kind_and_the_topic_of_a_queue_say_its_envelopes(queue, envelopes):
    """The outermost first; raw delivery leaves SNS's out."""
    assert spec({"name": "q", **queue}).queues[0].envelopes == envelopes


MODELS = {"Placed": {"kind": "Literal['placed']"}, "Order": {"id": "int"}}


def test_each_type_of_messages_has_a_handler():
    """Named after the type; a handler of the queue is for all others."""
    queue = {"name": "q", "by": "kind", "types": {"placed": {"payload": "Placed"}, "x/y z": {}}}

    typed, other = spec(
        queue,
        {**queue, "name": "p", "types": {"a": {"handler": "b"}}},
        payloads=MODELS,
    ).queues

    assert (typed.handlers, typed.payloads) == (("handle_placed", "handle_y_z"), ("Placed",))
    assert (typed.handler, other.handlers) == (None, ("b",))
    queue = {"name": "q", "by": "kind", "types": '{"a": {}}', "handler": "rest"}
    assert spec(queue).queues[0].handlers == ("handle_a", "rest")


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"by": "kind"}, "by"),
        ({"types": {"a": {}}}, "by"),
        ({"by": "a`b", "types": {"a": {}}}, "by"),
        ({"by": "a", "types": {}}, "types"),
        ({"by": "a", "types": []}, "types"),
        ({"by": "a", "types": "no JSON"}, "types"),
        ({"by": "a", "types": {"a": "handle_a"}}, "types.a"),
        ({"by": "a", "types": {"": {}}}, "types.''"),
        ({"by": "a", "types": {"a": {"handlr": "b"}}}, "types.a.handlr"),
        ({"by": "a", "types": {"a": {"handler": "a b"}}}, "types.a.handler"),
        ({"by": "a", "types": {"a": {"payload": "Ordr"}}}, "types.a.payload"),
        ({"by": "a", "types": {"a": {"handler": "f"}, "b": {"handler": "f"}}}, "types.b.handler"),
        ({"by": "kind", "types": {"paid": {"payload": "Placed"}}}, "types.paid"),
        ({"by": "a", "types": {"a": {}}, "payload": "Order"}, "payload"),
        ({"by": "a", "types": {"a": {}}, "translator": "none"}, "translator"),
        ({"by": "a", "types": {"a": {}}, "kind": "s3"}, "types"),
    ],
)
def test_what_is_wrong_with_types_is_told_at_its_key(more, place):
    """Each by itself."""
    assert set(problems({"name": "q", **more}, payloads=MODELS)) == {f"queues[0].{place}"}


def test_a_dead_letter_queue_has_a_receive_count():
    """Five attempts unless it is given."""
    assert spec({"name": "q", "dead_letter_queue": "d"}).queues[0].max_receive_count == 5


def test_all_problems_are_shown_at_once_each_with_its_place():
    """Nobody corrects one thing only to be told the next."""
    found = problems(
        {"name": "a b", "wait_time": 21, "concurrency": "many"},
        {"visibility_timeot": 3, "heartbeat": 1},
        "not a table",
        nmae="x",
    )

    assert set(found) == {
        "nmae",
        "queues[0].name",
        "queues[0].wait_time",
        "queues[0].concurrency",
        "queues[1].visibility_timeot",
        "queues[1].heartbeat",
        "queues[1].name",
        "queues[2]",
    }
    assert "did you mean 'visibility_timeout'" in found["queues[1].visibility_timeot"]
    assert "did you mean 'name'" in found["nmae"]


@pytest.mark.parametrize("queues", [None, [], "orders", {"name": "a"}, 3])
def test_a_service_has_a_list_of_queues(queues):
    """Without one there is nothing to write."""
    with pytest.raises(SpecError, match="queues"):
        validation.service(Draft({"name": "foobar", "queues": queues}))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["name", "kind", "topic", "handler", "heartbeat", "wait_time", "translator"])


@given(
    st.dictionaries(
        st.sampled_from(["name", "package", "queues"]) | st.text(),
        anything | st.lists(st.dictionaries(keys, anything)),
    )
)
def test_no_draft_is_too_strange_to_be_judged(values):
    """Whatever a file holds gives a spec or problems in plain text, never another exception."""
    try:
        text = repr(validation.service(Draft(values)))
    except SpecError as error:
        text = str(error)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()


def test_an_unknown_key_is_answered_with_few_keys_or_where_they_are_listed():
    """Not with six lines of them."""
    found = validation.problems_of(
        Draft({"name": "a", "xyzzy": 1, "queues": [{"name": "b", "xyzzy": 1}]})
    )
    ours, of_queue = [item.message for item in found]

    assert (
        ours == "is not a known key: the keys are name, package, parameters, payloads, queues, with"
    )
    assert of_queue == "is not a known key; `loafer-kit schema` lists the keys"


def test_a_remedy_is_one_that_there_is_where_it_is_read():
    """A person who types has options, a file has keys."""
    typed = [problem.message for problem in validation.problems_of(Draft({"name": "asyncio"}))]
    kept = [problem.message for problem in validation.problems_of(Draft({"name": "asyncio"}, "x"))]

    assert typed[0].endswith("choose another name")
    assert typed[1].endswith("name one with --queue")
    assert kept[0].endswith("choose another name, or set `package`")
    assert kept[1].endswith("one queue or more")


def test_a_queue_of_rabbitmq_has_its_exchange_and_its_options():
    """They are those that its route has."""
    service = spec(
        {"name": "orders", "kind": "amqp", "exchange": "shop", "routing_key": "order.*"},
        {"name": "bills", "kind": "amqp", "concurrency": 5, "retry_delay": 1},
        **{"with": ["compose", "ci", "kubernetes"]},
    )
    assert service.on_rabbitmq
    orders, bills = service.queues
    assert (orders.exchange, orders.routing_key) == ("shop", "order.*")
    assert bills.options == {"concurrency": 5, "retry_delay": 1, "handler_timeout": 60}


def test_a_queue_of_rabbitmq_is_named_as_rabbitmq_allows():
    """With dots, also in the name of its dead-letter queue, which it has in any case."""
    service = spec(
        {"name": "${STAGE}.order.events", "kind": "amqp", "dead_letter_queue": "${STAGE}.dead"},
        {"name": "shop:bills", "kind": "amqp", "max_receive_count": 3},
        parameters=[{"name": "STAGE"}],
    )

    events, bills = service.queues
    assert (events.route_name, events.handler) == ("order.events", "handle_order_events")
    assert (bills.handler, bills.max_receive_count) == ("handle_shop_bills", 3)
    assert bills.amqp_options == {"max_deliveries": 3}
    assert service.filled({"STAGE": "dev"}).queues[0].dead_letter_queue == "dev.dead"


@given(specs)
@few
def test_the_schema_accepts_what_validation_accepts(values):
    """An editor that follows the schema marks no spec that works."""
    valid(values)
    jsonschema.validate(values, validation.schema())


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a"},
        {"name": "a", "queues": []},
        {"name": "a", "queues": [{"name": "a b"}]},
        {"name": "a", "queues": [{"name": "a", "wait_tme": 1}]},
        {"name": "a", "queues": [{"name": "a", "wait_time": 21}]},
        {"name": "a", "queues": [{"name": "a", "rate_limit": 0}]},
        {"name": "a", "queues": [{"name": "a", "kind": "kafka"}]},
    ],
)
def test_the_schema_refuses_what_it_can_see(values):
    """Unknown keys, bounds, choices and names are in it."""
    jsonschema.Draft202012Validator.check_schema(validation.schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, validation.schema())
    with pytest.raises(SpecError):
        validation.service(Draft(values))


def test_every_row_is_documented():
    """A row's text is what a user reads in the schema."""
    for field in (*fields.SERVICE, *fields.EVERY, *fields.TOPIC, *fields.PARAMETER):
        assert field.doc.endswith(".")
