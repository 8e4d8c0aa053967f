"""From drafts to specs: defaults, and every problem with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_kit.scaffold.spec import contradictions, validation
from loafer_kit.scaffold.spec.specs import Draft, QueueSpec, SpecError


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


def test_queues_of_one_topic_have_one_kind():
    """They get the same messages; the problem stands at the second."""
    queues = [{"name": "a", "topic": "t"}, {"name": "b", "topic": "t", "kind": "s3"}]

    assert problems(*queues) == {
        "queues[1].kind": "every queue of the topic t gets the same messages: sns"
    }
    assert set(problems(*reversed(queues))) == {"queues[1].topic"}


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


def test_queues_of_one_topic_expect_the_same_types():
    """They get the same messages."""
    typed = {"topic": "t", "by": "kind", "types": {"a": {}}}
    others = {"topic": "t", "by": "kind", "types": {"b": {}}}

    assert set(problems({"name": "q", **typed}, {"name": "p", **others})) == {"queues[1].types"}


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


@pytest.mark.parametrize(
    ("queue", "place"),
    [
        ({"name": "a", "fifo": True}, "fifo"),
        ({"name": "a.fifo", "fifo": False}, "fifo"),
        ({"name": "a", "kind": "sqs", "topic": "t"}, "topic"),
        ({"name": "a.fifo", "topic": "t"}, "topic"),
        ({"name": "a", "max_receive_count": 3}, "max_receive_count"),
        ({"name": "a", "dead_letter_queue": "a"}, "dead_letter_queue"),
        ({"name": "a.fifo", "dead_letter_queue": "d"}, "dead_letter_queue"),
        ({"name": "a", "dead_letter_queue": "d.fifo"}, "dead_letter_queue"),
        ({"name": "a", "kind": "snss"}, "kind"),
        ({"name": "a", "kind": "eventbrige"}, "kind"),
        ({"name": "a", "kind": "cloudevents", "translator": "Own"}, "translator"),
        ({"name": "a", "kind": "s3", "payload": "Order"}, "payload"),
        ({"name": "a", "translator": "order"}, "translator"),
        ({"name": "a", "wait_time": True}, "wait_time"),
        ({"name": "a", "wait_time": 1.5}, "wait_time"),
        ({"name": "a", "handler_timeout": 0}, "handler_timeout"),
        ({"name": "a", "rate_limit": float("nan")}, "rate_limit"),
        ({"name": "a", "rate_limit": float("inf")}, "rate_limit"),
        ({"name": "a", "rate_limit": 10**400}, "rate_limit"),
    ],
)
def test_what_contradicts_itself_or_sqs_is_refused(queue, place):
    """The problem stands at the key that is to be changed."""
    assert set(problems(queue)) == {f"queues[0].{place}"}


def test_two_queues_cannot_share_a_name():
    """Also when one of them is given as a URL."""
    assert set(problems({"name": "a"}, {"name": "https://host/1/a"})) == {"queues[1].name"}


def test_two_queues_cannot_share_a_handler_and_a_free_name_is_suggested():
    """`a-b` and `a_b` would have the same handler."""
    found = problems({"name": "a-b"}, {"name": "a_b"}, {"name": "c", "handler": "handle_a_b_2"})

    assert list(found) == ["queues[1].handler"]
    assert "like handle_a_b_3" in found["queues[1].handler"]


def test_queues_may_share_an_error_handler_but_it_is_no_handler():
    """One function cannot be both."""
    assert spec({"name": "a", "error_handler": "e"}, {"name": "b", "error_handler": "e"})
    assert set(problems({"name": "a", "error_handler": "handle_a"})) == {"queues[0].error_handler"}


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


def chain(*pairs):
    return [QueueSpec(name, "sqs", None, dead_letter_queue=target) for name, target in pairs]


@pytest.mark.parametrize(
    "queues", [chain(("a", "b"), ("b", "a")), chain(("a", "b"), ("b", "c"), ("c", "a"))]
)
def test_a_cycle_of_dead_letter_queues_is_a_problem_where_it_closes(queues):
    """Of two queues, or of more."""
    (problem,) = contradictions.dead_letter_cycles(queues)

    assert problem.path == ("queues", len(queues) - 1, "dead_letter_queue")
    assert problem.message == f"dead letters of {queues[-1].name!r} would come back to it"


def test_a_chain_of_dead_letter_queues_is_not_a_problem():
    """Dead letters may be handled, and may fail again."""
    assert list(contradictions.dead_letter_cycles(chain(("a", "b"), ("b", "c"), ("d", "b")))) == []


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"))))
def test_dead_letters_without_a_problem_come_to_rest(pairs):
    """Following them ends at some queue."""
    queues = chain(*dict(pairs).items())
    closing = {problem.path[1] for problem in contradictions.dead_letter_cycles(queues)}
    target = {q.name: q.dead_letter_queue for i, q in enumerate(queues) if i not in closing}

    for start in target:
        seen, name = set(), start
        while name in target and target.get(name) != name:
            assert name not in seen
            seen.add(name)
            name = target.get(name)


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


@pytest.mark.parametrize(
    ("queue", "key"),
    [
        ({"kind": "amqp", "topic": "t"}, "topic"),
        ({"kind": "amqp", "wait_time": 3}, "wait_time"),
        ({"kind": "amqp", "heartbeat": True}, "heartbeat"),
        ({"kind": "amqp", "fifo": False}, "fifo"),
        ({"kind": "amqp", "raw_message_delivery": True}, "raw_message_delivery"),
        ({"kind": "amqp", "routing_key": "a"}, "routing_key"),
        ({"kind": "amqp", "exchange": "x" * 256}, "exchange"),
        ({"kind": "amqp", "exchange": "a\nb"}, "exchange"),
        ({"kind": "amqp", "exchange": ""}, "exchange"),
        ({"kind": "amqp", "name": "orders.fifo"}, "name"),
        ({"kind": "amqp", "name": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"}, "name"),
        ({"kind": "sqs", "exchange": "shop"}, "exchange"),
        ({"routing_key": "a"}, "routing_key"),
    ],
)
def test_keys_of_the_other_broker_are_refused(queue, key):
    """At their places."""
    assert f"queues[0].{key}" in problems({"name": "orders", **queue})


def test_a_service_reads_the_queues_of_one_broker():
    """The later queue is the problem, in either order."""
    amqp, sqs = {"name": "a", "kind": "amqp"}, {"name": "b"}
    message = "a service reads the queues of one broker: make another service for this one"
    assert problems(amqp, sqs) == {"queues[1].name": message}
    assert problems(sqs, amqp) == {"queues[1].kind": message}


@pytest.mark.parametrize("name", ["cloudformation", "sam", "terraform", "ecs", "monitoring"])
def test_a_service_of_rabbitmq_has_no_artefacts_for_sqs(name):
    """The problem names those that it may have."""
    found = problems({"name": "a", "kind": "amqp"}, **{"with": ["ci", name]})
    assert list(found) == ["with[1]"]
    assert "ci, compose, kubernetes" in found["with[1]"]
