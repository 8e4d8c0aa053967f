"""AsyncAPI documents: what is received becomes queues, and payloads become models."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.scaffold.sources import asyncapi, command_line
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import SpecError

DOCUMENTS = Path(__file__).parent / "documents"


def notes(draft):
    return [str(note) for note in draft.notes]


def document(tmp_path, content):
    file = tmp_path / "asyncapi.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def version_3(queue=None, payload=None, **more):
    """A document with one operation that receives one message."""
    channel = {"address": "orders", "messages": {"order": {"payload": payload}}}
    if queue is not None:
        channel["bindings"] = {"sqs": {"queue": queue}}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Shop"},
        "channels": {"orders": channel},
        "operations": {"onOrder": {"action": "receive", "channel": {"$ref": "#/channels/orders"}}},
    } | more


def problems(file):
    with pytest.raises(SpecError) as caught:
        validation.service(asyncapi.read(file))
    return [str(problem) for problem in caught.value.problems]


def test_version_2_publish_is_what_an_application_receives():
    """Queues of channels and of subscriptions, their settings, handlers and payloads."""
    draft = asyncapi.read(DOCUMENTS / "user-signedup-2.yaml")

    assert draft.values == {
        "name": "user-sign-up-service",
        "queues": [
            {
                "name": "user-signedup-queue",
                "handler": "on_user_signed_up",
                "payload": "UserSignedUp",
                "dead_letter_queue": "user-signedup-dlq",
                "max_receive_count": 10,
                "wait_time": 4,
                "visibility_timeout": 90,
            },
            {
                "name": "user-renamed-queue",
                "kind": "sns",
                "topic": "arn:aws:sns:eu-west-1:123456789012:user-renamed",
                "filter_policy": {"reason": [{"anything-but": "password-reset"}]},
                "handler": "on_user_renamed",
                "payload": "UserRenamed",
                "wait_time": 4,
            },
        ],
        "payloads": {
            "UserSignedUp": {
                "id": "UUID",
                "email": "str",
                "referrer": "str | None",
                "plan": "Literal['free', 'paid'] | None",
                "address": "UserSignedUpAddress | None",
            },
            "UserSignedUpAddress": {"city": "str", "country-code": "str | None"},
            "UserRenamed": {"id": "UUID | None", "names": "list[str] | None"},
        },
    }


def test_what_a_spec_cannot_say_is_listed_with_its_line():
    """Policies, filters, other protocols, limits of values, and what is sent."""
    signed_up = "channels.user-signedup"
    assert notes(asyncapi.read(DOCUMENTS / "user-signedup-2.yaml")) == [
        f"{signed_up}.bindings.sqs.queue: unsupported: policy (line 10)",
        (
            f"{signed_up}.bindings.sqs.deadLetterQueue: unsupported: "
            "messageRetentionPeriod (line 23)"
        ),
        f"{signed_up}.publish.message.payload: not checked: additionalProperties, format 'email' (line 33)",
        f"{signed_up}.publish.message.payload.properties.address: not checked: minLength (line 42)",
        (
            "channels.user-renamed.publish.bindings.sns.consumers[0]: unsupported: "
            "redrivePolicy (line 57)"
        ),
        (
            "channels.user-renamed.publish.bindings.sns.consumers[1]: is subscribed by 'https', "
            "not by a queue (line 66)"
        ),
        (
            "channels.user-renamed.publish.bindings.sqs.queues[1]: 'user-renamed-dlq' is left out: "
            "no subscription delivers to it, and no queue's redrive policy names it (line 75)"
        ),
        "channels.user-deleted.subscribe: sends: left to the handlers (line 85)",
    ]


def test_version_3_operations_that_receive():
    """FIFO queues, ARNs, multi-format payloads, `allOf`, and a schema that contains itself."""
    draft = asyncapi.read(DOCUMENTS / "user-signedup-3.yaml")
    user = {"id": "UUID", "name": "str", "credit": "Decimal | None", "friends": "list[User] | None"}

    assert draft.values == {
        "name": "user-sign-up-service",
        "queues": [
            {
                "name": "user-signedup-queue.fifo",
                "handler": "on_user_signed_up",
                "payload": "User",
                "dead_letter_queue": "user-signedup-dlq.fifo",
                "max_receive_count": 3,
                "visibility_timeout": 60,
                "deduplication_scope": "messageGroup",
                "fifo_throughput_limit": "perMessageGroupId",
            },
            {
                "name": "user-renamed-queue",
                "kind": "sns",
                "topic": "user-renamed-topic",
                "raw_message_delivery": True,
                "handler": "on_user_renamed",
                "payload": "UserRenamed",
                "wait_time": 4,
            },
        ],
        "payloads": {"User": user, "UserRenamed": {**user, "before": "str"}},
    }


@pytest.mark.parametrize(
    ("policy", "settings", "note"),
    [
        (None, {"dead_letter_queue": "dead", "max_receive_count": 10}, None),
        ({"maxReceiveCount": 4}, {"dead_letter_queue": "dead", "max_receive_count": 4}, None),
        (
            {"deadLetterQueue": {"name": "other"}, "maxReceiveCount": 4},
            {"dead_letter_queue": "other", "max_receive_count": 4},
            "'dead' is left out: no subscription delivers to it",
        ),
    ],
)
def test_a_channels_dead_letter_queue_is_its_queues_own(tmp_path, policy, settings, note):
    """Where no redrive policy names another one; the count is the binding's default."""
    content = version_3(queue={"name": "orders", "fifoQueue": False, "redrivePolicy": policy})
    sqs = content["channels"]["orders"]["bindings"]["sqs"]
    sqs["deadLetterQueue"] = {"name": "dead", "fifoQueue": False}

    draft = asyncapi.read(document(tmp_path, content))

    assert draft.values["queues"] == [{"name": "orders", "handler": "on_order", **settings}]
    assert any(note in text for text in notes(draft)) if note else notes(draft) == []
    validation.service(draft)


def test_a_channel_with_a_dead_letter_queue_alone_gets_a_queue(tmp_path):
    """Called like the channel, and with a note about either."""
    content = version_3()
    sqs = {"deadLetterQueue": {"name": "dead", "fifoQueue": False}}
    content["channels"]["orders"]["bindings"] = {"sqs": sqs}

    draft = asyncapi.read(document(tmp_path, content))

    assert [queue["name"] for queue in draft.values["queues"]] == ["orders"]
    assert len(notes(draft)) == 2


def test_dead_letter_queues_are_told_from_the_others():
    """A channel's own, one that a policy names, and one that only a subscription could mean."""
    draft = asyncapi.read(DOCUMENTS / "parcels-3.yaml")

    assert [
        (queue["name"], queue["dead_letter_queue"], queue["max_receive_count"])
        for queue in draft.values["queues"]
    ] == [
        ("parcel-scans", "parcel-scans-dead", 10),
        ("depot-closings-parcels", "depot-closings-dead", 4),
    ]
    assert draft.values["queues"][1]["filter_policy"] == {"region": ["north"]}
    assert [note.partition(": ")[2] for note in notes(draft)] == [
        "unsupported: headers (line 10)",
        "unsupported: messageRetentionPeriod (line 29)",
        "unsupported: visibilityTimeout (line 68)",
        (
            "'depot-closings-undelivered' is left out: no subscription delivers to it, "
            "and no queue's redrive policy names it (line 71)"
        ),
    ]


def test_channels_without_a_binding_get_queues_of_their_own():
    """As in the specification's own examples, whose brokers are others."""
    draft = asyncapi.read(DOCUMENTS / "streetlights-3.yaml")

    assert [queue["name"] for queue in draft.values["queues"]] == [
        "smartylighting-streetlights-1-0-event-${STREETLIGHT_ID}-lighting-measured",
        "smartylighting-streetlights-1-0-event-${STREETLIGHT_ID}-turned-on",
    ]
    assert draft.values["parameters"] == [{"name": "STREETLIGHT_ID"}]
    assert draft.values["payloads"] == {
        "LightMeasuredPayload": {"lumens": "int | None", "sentAt": "datetime | None"},
        "TurnOnOffPayload": {"command": "Literal['on', 'off']", "sentAt": "datetime | None"},
    }
    assert any("has no binding for SQS" in note for note in notes(draft))


@pytest.mark.parametrize(
    "reference",
    [
        "http://169.254.169.254/latest/meta-data/",
        7,
        ["#/a"],
    ],
)
def test_references_out_of_the_document_are_refused(tmp_path, monkeypatch, reference):
    """Nothing is fetched: the error says where the reference stands."""
    import socket

    monkeypatch.setattr(socket, "socket", None)
    file = document(tmp_path, version_3(payload={"$ref": reference}))

    (problem,) = problems(file)

    assert problem.startswith(
        "channels.orders.messages.order.payload.$ref: ".replace("$ref", "'$ref'")
    )
    assert "nothing is fetched" in problem


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ({"$ref": "#/components/schemas/A"}, "leads back to itself"),
    ],
)
def test_references_that_lead_nowhere_are_problems(tmp_path, payload, message):
    """Circles of references too."""
    schemas = {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}}
    file = document(tmp_path, version_3(payload=payload, components={"schemas": schemas}))

    assert message in problems(file)[0]


def test_all_problems_of_a_document_are_found_at_once(tmp_path):
    """Those of the reader and those of the spec, in the order of their lines."""
    file = tmp_path / "asyncapi.yaml"
    file.write_text(
        "asyncapi: 3.0.0\n"
        "channels:\n"
        "  orders:\n"
        "    bindings:\n"
        "      sqs:\n"
        "        queue: {name: a b, fifoQueue: false,\n"
        "          visibilityTimeout: soon}\n"
        "  news:\n"
        "    $ref: https://example.com/news\n"
        "operations:\n"
        "  onOrder: {action: receive, channel: {$ref: '#/channels/orders'}}\n"
        "  onNews: {action: receive, channel: {$ref: '#/channels/news'}}\n"
    )

    assert [problem.rpartition(" ")[2] for problem in problems(file)] == [
        "missing",
        "6)",
        "7)",
        "9)",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"asyncapi": "1.2.0"}, "must be a version 2.x or 3.x, not '1.2.0'"),
        ({"openapi": "3.0.0"}, "must be a version 2.x or 3.x, not 'None'"),
        ({"asyncapi": "2.6.0"}, "receives nothing: there is no `publish`"),
        ({"asyncapi": "3.0.0"}, "receives nothing: there is no operation with `action: receive`"),
    ],
)
def test_a_document_that_describes_no_receiver_is_a_problem(tmp_path, content, message):
    """The one problem says why."""
    found = problems(document(tmp_path, {"info": {"title": "shop"}, **content}))

    assert len(found) == 1
    assert message in found[0]


def test_a_chain_of_references_may_not_be_endless(tmp_path):
    """An error of one line, and no crash."""
    schemas = {
        f"S{n}": {"type": "array", "items": {"$ref": f"#/components/schemas/S{n + 1}"}}
        for n in range(5000)
    } | {"S5000": {"type": "string"}}
    content = version_3(payload={"properties": {"x": {"$ref": "#/components/schemas/S0"}}})

    with pytest.raises(ConfigurationError, match="nested too deeply"):
        asyncapi.read(document(tmp_path, content | {"components": {"schemas": schemas}}))


def test_parts_that_multiply_are_read_once(tmp_path):
    """`allOf` can lead to one schema in very many ways."""
    schemas = {
        f"S{n}": {"allOf": [{"$ref": f"#/components/schemas/S{n + 1}"}] * 9} for n in range(40)
    } | {"S40": {"properties": {"a": {"type": "string"}}}}
    content = version_3(payload={"$ref": "#/components/schemas/S0"})

    draft = asyncapi.read(document(tmp_path, content | {"components": {"schemas": schemas}}))

    assert draft.values["payloads"] == {"S0": {"a": "str | None"}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "str"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "time"}, "time"),
        ({"type": "string", "format": "email"}, "str"),
        ({"type": "number"}, "float"),
        ({"type": "boolean"}, "bool"),
        ({"type": ["integer", "null"]}, "Required[int | None]"),
        ({"type": ["integer", "string"]}, "int | str"),
        ({"type": "integer", "nullable": True}, "Required[int | None]"),
        ({"const": 7}, "Literal[7]"),
        ({"enum": ["a", "b", None]}, "Required[Literal['a', 'b'] | None]"),
        ({"enum": ["a'b", "{{ 7 }}"]}, "Any"),
        ({"enum": [1.5]}, "Any"),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, "Required[str | None]"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "str | int"),
        ({"type": "array"}, "list[Any]"),
        ({"type": "array", "items": {"type": "number"}}, "list[float]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]"),
        ({"not": {"type": "string"}}, "Any"),
        (True, "Any"),
        ("string", "Any"),
        (None, "Any"),
        ({}, "Any"),
    ],
)
def test_each_schema_has_its_type(tmp_path, schema, expected):
    """JSON Schema says more than a type; what is lost is noted."""
    payload = {"type": "object", "required": ["x"], "properties": {"x": schema}}

    draft = asyncapi.read(document(tmp_path, version_3(payload=payload)))

    assert draft.values["payloads"] == {"Order": {"x": expected}}
    validation.service(draft)


def test_names_that_code_cannot_have_are_changed_or_left_out(tmp_path):
    """A model never takes the name of what the generated code needs."""
    schemas = {
        "Any": {"properties": {"bad\nkey": {}, "ok": {"$ref": "#/components/schemas/exception"}}},
        "exception": {"properties": {"x": {"type": "string"}}},
    }
    content = version_3(payload={"$ref": "#/components/schemas/Any"})

    draft = asyncapi.read(document(tmp_path, content | {"components": {"schemas": schemas}}))

    assert draft.values["payloads"] == {
        "AnyPayload": {"ok": "ExceptionPayload | None"},
        "ExceptionPayload": {"x": "str | None"},
    }
    assert any("'bad\\nkey': is left out" in note for note in notes(draft))
    validation.service(draft)


@pytest.mark.parametrize(
    ("message", "note"),
    [
        ({"contentType": "application/avro", "payload": {}}, "which is not decoded"),
        ({"schemaFormat": "application/vnd.apache.avro;version=1.9.0", "payload": {}}, "not JSON Schema"),
        ({"payload": {"type": "string"}}, "is not an object"),
        ({"traits": [{"contentType": "text/csv"}], "payload": {}}, "which is not decoded"),
    ],
)  # fmt: skip
def test_messages_that_are_no_json_objects_have_no_model(tmp_path, message, note):
    """The handler takes what is decoded; the note says why."""
    content = version_3()
    content["channels"]["orders"]["messages"] = {"order": message}

    draft = asyncapi.read(document(tmp_path, content))

    assert "payloads" not in draft.values
    assert any(note in text for text in notes(draft))


hostile = st.text(max_size=12) | st.sampled_from(
    ["{{ 7*7 }}", '"""', "'", "\n", "\u2028", "#/channels", "receive", "sqs", "3.0.0", "../x"]
)
keys = hostile | st.sampled_from(
    [
        "$ref", "action", "additionalProperties", "allOf", "arn", "bindings", "channel", "consumers",
        "endpoint", "enum", "items", "message", "messages", "name", "oneOf", "payload", "properties",
        "protocol", "publish", "queue", "queues", "redrivePolicy", "required", "sns", "sqs", "title",
        "topic", "traits", "type", "visibilityTimeout",
    ]
)  # fmt: skip
values = st.recursive(
    hostile | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
tables = st.dictionaries(keys, values, max_size=4)


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {"asyncapi": st.sampled_from(["2.6.0", "3.0.0"])},
        optional={
            "info": values,
            "channels": values | st.dictionaries(hostile, tables, max_size=2),
        },
    ),
    tables,
    tables,
    values,
)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_no_document_is_a_crash(tmp_path_factory, content, operation, channel, payload):
    """Whatever stands anywhere: a draft that validation accepts, or errors of one line each."""
    folder = tmp_path_factory.mktemp("documents")
    receiver = {"action": "receive", "message": {"payload": payload}, **operation}
    content.setdefault("channels", {"x": {"publish": receiver, **channel}})
    content["operations"] = {"x": {"channel": {"$ref": "#/channels/x"}, **receiver}}
    file = document(folder, content)
    try:
        draft = asyncapi.read(file)
        found = [*validation.problems_of(draft), *draft.notes]
    except LoaferKitError as error:
        found = [error]
    assert all(str(item).isprintable() for item in found)


def messages_of(draft):
    return [note.message for note in draft.notes]


def test_several_messages_are_a_union(tmp_path):
    """Of their models, in the document's order."""
    messages = {
        name: {"payload": {"type": "object", "properties": {key: {"type": "string"}}}}
        for name, key in {"Placed": "id", "Paid": "amount"}.items()
    }
    content = version_3()
    content["channels"]["orders"]["messages"] = messages

    draft = asyncapi.read(document(tmp_path, content))

    assert draft.values["queues"][0]["payload"] == "PlacedOrPaid"
    assert draft.values["payloads"]["PlacedOrPaid"] == "Placed | Paid"
    validation.service(draft)


def event(kind, **field):
    properties = {"kind": {"const": kind}, "id": {"type": "string"}}
    return {"type": "object", "properties": properties, "required": ["kind"], **field}


@pytest.mark.parametrize("form", ["messages", "oneOf"])
def test_messages_that_a_field_tells_apart_get_a_handler_each(tmp_path, form):
    """Each with its own model; the spec and a second document say the same."""
    schemas = {"Placed": event("order.placed"), "Paid": event("order.paid")}
    content = version_3(payload={"oneOf": [{"title": key, **schemas[key]} for key in schemas]})
    if form == "messages":
        messages = {name: {"payload": schema} for name, schema in schemas.items()}
        content["channels"]["orders"]["messages"] = messages

    draft = asyncapi.read(document(tmp_path, content))

    (queue,) = draft.values["queues"]
    assert (queue["by"], queue.get("payload"), queue.get("handler")) == ("kind", None, None)
    assert queue["types"] == {
        "order.placed": {"payload": "Placed"},
        "order.paid": {"payload": "Paid"},
    }
    assert list(draft.values["payloads"]) == ["Placed", "Paid"]
    (found,) = validation.service(draft).queues
    assert found.handlers == ("handle_order_placed", "handle_order_paid")


@pytest.mark.parametrize(
    "other", [event("order.placed"), event("order.paid", required=[]), event(7), event(["a"])]
)
def test_messages_that_nothing_tells_apart_have_one_handler(tmp_path, other):
    """The same value, a field that may be absent, and one that is no text."""
    other["properties"]["more"] = {"type": "integer"}
    content = version_3(payload={"oneOf": [event("order.placed"), other]})

    draft = asyncapi.read(document(tmp_path, content))

    assert "types" not in draft.values["queues"][0]
    validation.service(draft)


@pytest.mark.parametrize("reference", ["./order.avsc", "https://example.com/order.avsc"])
def test_a_schema_in_another_format_is_not_read(tmp_path, reference):
    """Avro's may be in a file, or on the network."""
    content = version_3(payload={"$ref": reference})
    (message,) = content["channels"]["orders"]["messages"].values()
    message["schemaFormat"] = "application/vnd.apache.avro;version=1.9.0"

    draft = asyncapi.read(document(tmp_path, content))

    assert not draft.problems
    assert "is not JSON Schema: the handler gets the decoded content" in messages_of(draft)


def with_operations(payloads):
    """A document with an operation for each message of one channel."""
    content = version_3(queue={"name": "orders"})
    channel = {"$ref": "#/channels/orders"}
    content["channels"]["orders"]["messages"] = {
        name: {"payload": schema} for name, schema in payloads.items()
    }
    content["operations"] = {
        f"on{name}": {
            "action": "receive",
            "channel": channel,
            "messages": [{"$ref": f"#/channels/orders/messages/{name}"}],
        }
        for name in payloads
    }
    return content


def test_operations_of_one_queue_are_the_handlers_of_their_types(tmp_path):
    """No message of a later operation is lost."""
    content = with_operations({"Placed": event("order.placed"), "Paid": event("order.paid")})
    content["operations"]["handleOrderPaid"] = content["operations"].pop("onPaid")

    draft = asyncapi.read(document(tmp_path, content))

    (queue,) = draft.values["queues"]
    assert queue["types"] == {
        "order.placed": {"payload": "Placed", "handler": "on_placed"},
        "order.paid": {"payload": "Paid", "handler": "handle_order_paid"},
    }
    assert not draft.notes
    validation.service(draft)


def test_an_operation_that_receives_every_type_has_no_handler_of_its_own(tmp_path):
    """That is noted; there is no model of the union of its messages either."""
    content = with_operations({"Placed": event("a"), "Paid": event("b")})
    content["operations"]["onAll"] = {
        "action": "receive",
        "channel": {"$ref": "#/channels/orders"},
    }

    draft = asyncapi.read(document(tmp_path, content))

    (queue,) = draft.values["queues"]
    assert [table["handler"] for table in queue["types"].values()] == ["on_placed", "on_paid"]
    assert list(draft.values["payloads"]) == ["Placed", "Paid"]
    assert messages_of(draft) == ["shares its types' handlers with another operation"]


def test_operations_that_nothing_tells_apart_share_a_handler(tmp_path):
    """It gets the messages of all."""
    content = with_operations({"Placed": event("a"), "Paid": event(7), "Sent": event(8)})

    draft = asyncapi.read(document(tmp_path, content))

    (queue,) = draft.values["queues"]
    assert draft.values["payloads"][queue["payload"]] == "Placed | Paid | Sent"
    assert "handler" not in queue
    assert messages_of(draft) == ["shares its queue's handler with another operation"] * 2
    validation.service(draft)


def test_the_types_of_an_operation_with_two_queues_have_handlers_of_their_own(tmp_path):
    """Only those of the first queue are named after operations."""
    content = with_operations({"Placed": event("a"), "Paid": event("b")})
    queues = [{"name": "orders", "fifoQueue": False}, {"name": "copies", "fifoQueue": False}]
    for operation in content["operations"].values():
        operation["bindings"] = {"sqs": {"queues": queues}}
    content["channels"]["orders"].pop("bindings", None)

    service = validation.service(asyncapi.read(document(tmp_path, content)))

    assert [queue.handlers for queue in service.queues] == [
        ("on_placed", "on_paid"),
        ("handle_a", "handle_b"),
    ]


def test_a_channel_and_its_operation_may_describe_one_queue(tmp_path):
    """The operation names the handler, and nothing is noted."""
    queue = {"name": "orders", "fifoQueue": False}
    content = version_3(queue=queue)
    (operation,) = content["operations"].values()
    operation["bindings"] = {"sqs": {"queues": [dict(queue)]}}

    draft = asyncapi.read(document(tmp_path, content))

    assert draft.values["queues"] == [{"name": "orders", "handler": "on_order"}]
    assert not draft.notes


@pytest.mark.parametrize(
    "address",
    [
        "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo",
        "arn:aws:sqs:eu-west-1:123456789012:orders.fifo",
        "arn:aws:sns:eu-west-1:123456789012:orders.fifo",
    ],
)
def test_an_address_on_aws_ends_with_the_name(tmp_path, address):
    """Of a queue, or of a topic for a queue of its name."""
    content = version_3()
    content["channels"]["orders"]["address"] = address

    draft = asyncapi.read(document(tmp_path, content))

    assert draft.values["queues"][0]["name"] == "orders.fifo"


def test_a_queue_that_is_described_twice_is_described_alike(tmp_path):
    """Another description of it is noted, the same one is not."""
    content = with_operations({"Placed": event("a"), "Paid": event("b")})
    content["channels"]["orders"].pop("bindings", None)
    queue = {"name": "orders", "visibilityTimeout": 60}
    first, second = content["operations"].values()
    first["bindings"] = {"sqs": {"queues": [queue]}}
    second["bindings"] = {"sqs": {"queues": [dict(queue)]}}
    assert not asyncapi.read(document(tmp_path, content)).notes

    second["bindings"]["sqs"]["queues"][0]["visibilityTimeout"] = 90

    draft = asyncapi.read(document(tmp_path, content))
    assert messages_of(draft) == ["is left out: 'orders' is described before"]


def test_two_queues_with_the_same_types_have_handlers_of_their_own(tmp_path):
    """The second gets other names."""
    content = version_3(payload={"oneOf": [event("a"), event("b")]})
    content["channels"]["copies"] = {**content["channels"]["orders"], "address": "copies"}
    content["operations"]["onCopy"] = {
        "action": "receive",
        "channel": {"$ref": "#/channels/copies"},
    }

    service = validation.service(asyncapi.read(document(tmp_path, content)))

    assert [queue.handlers for queue in service.queues] == [
        ("handle_a", "handle_b"),
        ("handle_a_2", "handle_b_2"),
    ]


def test_a_consumer_without_an_endpoint_and_a_topic_without_a_name_get_names(tmp_path):
    """As springwolf writes them; the names are noted."""
    content = version_3()
    bindings = {"sns": {"consumers": [{"protocol": "sqs", "endpoint": {}}]}}
    (operation,) = content["operations"].values()
    operation["bindings"] = bindings

    draft = asyncapi.read(document(tmp_path, content))

    (queue,) = draft.values["queues"]
    assert (queue["name"], queue["topic"]) == ("orders", "orders")
    assert "its topic has no name: the spec calls it 'orders'" in messages_of(draft)
    assert "its queue has no name and no arn: the spec calls it 'orders'" in messages_of(draft)


def test_flags_override_what_a_document_says(tmp_path):
    """The settings of a queue of the same name; the rest of it stays."""
    content = version_3(queue={"name": "orders", "fifoQueue": True, "visibilityTimeout": 90})
    draft = asyncapi.read(document(tmp_path, content))
    assert "name it 'orders.fifo'" in validation.problems_of(draft)[0].message

    found = command_line.merge(draft, None, ["orders,fifo=false,wait_time=5", "more"])

    orders, more = validation.service(found).queues
    assert orders.name == "orders"
    assert (orders.options["visibility_timeout"], orders.options["wait_time"]) == (90, 5)
    assert more.name == "more"


def test_a_default_that_no_parameter_may_have_is_noted(tmp_path):
    """The name has it."""
    content = version_3()
    channel = content["channels"]["orders"]
    channel["address"] = "{version}.orders"
    channel["parameters"] = {"version": {"default": "1.0"}}

    draft = asyncapi.read(document(tmp_path, content))

    assert draft.values["queues"][0]["name"] == "1-0-orders"
    assert "parameters" not in draft.values
    assert "is taken from its default '1.0': the address has it" in messages_of(draft)


def in_channel(version, **parameters):
    """A document with one channel whose address and queue take parameters."""
    queue = {"name": "{env}-orders", "redrivePolicy": {"deadLetterQueue": {"name": "{env}-dead"}}}
    if version == 3:
        content = version_3(queue)
        content["channels"]["orders"] |= {"address": "{env}.orders", "parameters": parameters}
        return content
    schemas = {key: {"schema": {"type": "string", **item}} for key, item in parameters.items()}
    channel = {"parameters": schemas, "bindings": {"sqs": {"queue": queue}}, "publish": {}}
    return {"asyncapi": "2.6.0", "info": {"title": "Shop"}, "channels": {"{env}.orders": channel}}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("parameter", "expected"),
    [({"default": "dev"}, {"name": "ENV", "default": "dev"}), ({}, {"name": "ENV"})],
)
def test_the_parameters_of_a_channel_are_those_of_the_spec(tmp_path, version, parameter, expected):
    """Names in bindings take them as well; without a default the environment has to set one."""
    draft = asyncapi.read(document(tmp_path, in_channel(version, env=parameter)))

    assert draft.values["parameters"] == [expected]
    (queue,) = validation.service(draft).queues
    assert (queue.name, queue.dead_letter_queue) == ("${ENV}-orders", "${ENV}-dead")
    assert not any("default" in message for message in messages_of(draft))


def test_the_schema_of_a_parameter_may_be_a_reference(tmp_path):
    """Its default counts, and nothing of it is noted."""
    content = in_channel(2, env={})
    (channel,) = content["channels"].values()
    channel["parameters"]["env"]["schema"] = {"$ref": "#/components/schemas/env"}
    schema = {"type": "string", "default": "dev"}
    content["components"] = {"schemas": {"env": schema}}

    draft = asyncapi.read(document(tmp_path, content))

    assert draft.values["parameters"] == [{"name": "ENV", "default": "dev"}]
    assert not any("unsupported" in message for message in messages_of(draft))


def test_an_address_takes_parameters_without_a_binding(tmp_path):
    """The parts between them become the queue's name."""
    content = version_3()
    channel = content["channels"]["orders"]
    channel["address"] = "{teamName}/orders.{env}.fifo"
    channel["parameters"] = {"env": {"default": "dev"}, "teamName": {"$ref": "#/components/team"}}
    content["components"] = {"team": {"default": "a"}}

    service = validation.service(asyncapi.read(document(tmp_path, content)))

    assert service.queues[0].name == "${TEAM_NAME}-orders-${ENV}.fifo"
    assert service.stand_ins == {"ENV": "dev", "TEAM_NAME": "a"}


def test_a_variable_of_a_server_may_be_in_a_name(tmp_path):
    """As `{env}` is in its host: other variables of servers are left alone."""
    content = version_3({"name": "{env}-orders"})
    variables = {"env": {"default": "dev", "enum": ["dev", "prod"]}, "port": {"default": "1"}}
    content["servers"] = {"main": {"host": "{env}.example.com", "variables": variables}}

    draft = asyncapi.read(document(tmp_path, content))

    assert draft.values["queues"][0]["name"] == "${ENV}-orders"
    assert draft.values["parameters"] == [{"name": "ENV", "default": "dev"}]
    assert messages_of(draft) == []


def test_what_becomes_no_parameter_is_noted(tmp_path):
    """Values that are listed, another default, and a parameter that no name takes."""
    content = in_channel(3, env={"default": "dev", "enum": ["dev"]}, id={"location": "$message"})
    content["channels"]["more"] = {"address": "x", "parameters": {"env": {"default": "prod"}}}

    draft = asyncapi.read(document(tmp_path, content))

    notes = messages_of(draft)
    assert "unsupported: enum" in notes
    assert "unsupported: location" in notes
    assert "is left out: no name of a queue or a topic takes it" in notes
    assert "its default is left out: another 'env' has 'dev'" in notes
    assert draft.values["parameters"] == [{"name": "ENV", "default": "dev"}]


def test_a_placeholder_that_is_not_declared_stays_a_part_of_the_name(tmp_path):
    """Without its braces, which no queue may have."""
    content = version_3()
    content["channels"]["orders"]["address"] = "{env}.orders"

    assert asyncapi.read(document(tmp_path, content)).values["queues"][0]["name"] == "env-orders"
