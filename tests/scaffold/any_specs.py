"""Specs that are drawn: everything that a spec may say, in any company."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from loafer_kit.scaffold.spec import fields, names, payload_types, validation
from loafer_kit.scaffold.spec.fields import ARTEFACT_NAMES
from loafer_kit.scaffold.spec.specs import Draft, SpecError

few = settings(
    max_examples=max(5, settings().max_examples // 5),
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)

identifiers = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
queue_names = st.from_regex(r"[A-Za-z0-9_-]{1,40}(\.fifo)?", fullmatch=True)
# Names that meet: a queue takes the dead letters of others, topics and handlers have several queues.
shared_names = st.sampled_from(["orders", "orders.fifo", "dead", "dead.fifo"])
urls = st.builds(
    "{}/{}/{}".format,
    st.sampled_from(["https://sqs.eu-west-1.amazonaws.com", "http://localhost:4566"])
    | st.from_regex(r"https://[a-z]{1,9}\.com", fullmatch=True),
    st.sampled_from(["123456789012", "queue"]),
    queue_names,
)
topic_arns = st.builds(
    "arn:aws:sns:{}:123456789012:{}".format,
    st.sampled_from(["eu-west-1", "us-gov-west-1"]),
    queue_names | shared_names,
)

model_names = ["Order", "Customer", "OrderLine", "News"]
_leaves = st.sampled_from(
    [*payload_types.SCALARS, "Literal['a', 'b']", "Literal[1, 2]", *model_names]
)
_types = st.recursive(
    _leaves,
    lambda inner: inner.map("list[{}]".format) | inner.map("dict[str, {}]".format),
    max_leaves=3,
)
_fields = st.dictionaries(
    st.from_regex(names.KEY, fullmatch=True)
    | st.sampled_from(["class", "str", "list", "dt", "Any", "Order", "self", "_id", "__init__"]),
    _types | _types.map("{} | None".format),
    max_size=5,
)
tables = st.fixed_dictionaries(dict.fromkeys(model_names, _fields))


def values(field, least=0.0, most=99):
    """What an option may be, within its bounds and these."""
    if field.kind == "boolean":
        return st.booleans()
    low = max(field.minimum or field.more_than or 0, least)
    high = min(field.maximum or most, most)
    whole = st.integers(max(int(low), field.minimum or 1), int(high))
    if field.kind == "integer":
        return whole
    return whole | st.floats(low, high, exclude_min=field.more_than is not None)


def attributes():
    """What a spec may say of a subscription and of a FIFO queue."""
    policies = {"filter_policy": st.sampled_from([{"a": ["b"]}, {"é": [{"prefix": "$"}, 1.5]}])}
    return policies | {
        field.name: st.sampled_from(field.choices) if field.choices else st.booleans()
        for field in fields.ATTRIBUTES
        if field.kind != "object"
    }


def specs_of(options):
    """Specs whose queues have these options, each by its strategy."""
    optional = {
        # A queue of RabbitMQ has few of these keys; it has tests of its own.
        "kind": st.sampled_from([kind for kind in fields.KINDS if kind != fields.AMQP]),
        "by": st.sampled_from(["detail-type", "type", "a.b c", "key"]),
        "types": st.dictionaries(
            st.sampled_from(["order.placed", "a", "Ä $ #"]),
            st.fixed_dictionaries({}, optional={"payload": st.sampled_from(model_names)}),
        ),
        "topic": queue_names | shared_names | topic_arns,
        "handler": identifiers,
        "error_handler": identifiers | st.just("on_error"),
        "dead_letter_queue": queue_names | shared_names,
        "max_receive_count": st.integers(1, 1000),
        **attributes(),
        **options,
    }
    name = queue_names | shared_names | urls
    translator = st.just("none") | st.from_regex(r"[A-Z][A-Za-z0-9]{0,20}", fullmatch=True)
    queue = st.fixed_dictionaries({"name": name}, optional=optional | {"translator": translator})
    payload = st.sampled_from(model_names)
    typed = st.fixed_dictionaries({"name": name, "payload": payload}, optional=optional)
    return _specs(queue) | _specs(queue | typed, payloads=tables)


def _specs(queue, **more):
    required = {
        "name": st.from_regex(r"[A-Za-z]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True),
        "queues": st.lists(queue, min_size=1, max_size=4),
    }
    optional = {
        "package": identifiers,
        "with": st.lists(st.sampled_from(ARTEFACT_NAMES), unique=True),
    }
    return st.fixed_dictionaries(required | more, optional=optional)


specs = specs_of({field.name: values(field) for field in fields.OPTIONS})

# What would let a service's own tests wait or fail, as it should: they handle one message each.
_IN_TESTS = {
    "handler_timeout": {"least": 5},
    "max_processing_time": {"least": 30},
    "wait_time": {"most": 1},
    "linger": {"most": 1},
    "visibility_timeout": {"least": 5},
    "rate_limit": {"least": 10},
}
runnable = specs_of(
    {field.name: values(field, **_IN_TESTS.get(field.name, {})) for field in fields.OPTIONS}
)


def valid(values):
    """The spec, without what another part of it forbids; the values lose it too."""
    while True:
        try:
            return validation.service(Draft(values))
        except SpecError as error:
            _leave_out(values, *error.problems[0].path)


def _leave_out(values, table, *path):
    if table == "package":
        del values["package"]
    elif table == "name":  # there can be no package of that name
        values["package"] = "foobar"
    elif table == "payloads":
        model, *field = path
        if field:
            del values["payloads"][model][field[0]]
        else:
            del values["payloads"][model]
    else:
        index, key, *inner = path
        queue = values["queues"][index]
        if key == "types" and inner:
            del queue["types"][inner[0]]
        elif key in ("name", "handler") and len(values["queues"]) > 1:  # those of another queue
            del values["queues"][index]
        elif key == "name":  # no name of a queue, but of a topic
            queue["name"] = "orders"
        else:
            del queue["types" if key == "by" and key not in queue else key]
