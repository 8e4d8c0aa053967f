"""The models of messages: checked with the spec, written as dataclasses, with examples and schemas."""

import ast
import dataclasses
import datetime as dt
import json
import sys
import tomllib
import types
import typing
import uuid
from decimal import Decimal

import jsonschema
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scaffold.any_specs import few, model_names, tables

from loafer_kit.scaffold.rendering import builtin, contexts, templates
from loafer_kit.scaffold.spec import names, payloads, validation
from loafer_kit.scaffold.spec.specs import Draft, Problem, SpecError

ORDER = {
    "id": "UUID",
    "placed_at": "datetime",
    "total": "Decimal",
    "status": "Literal['open', 'paid']",
    "customer": "Customer",
    "note": "str | None",
    "order-id": "int",
    "from": "str",
    "parent": "Order | None",
    "parts": "list[Order]",
}
CUSTOMER = {
    "name": "str",
    "date": "date | None",
    "list": "list[str] | None",
    "Customer": "Order | None",
}


def spec(models, *queues, **more):
    listed = list(queues) or [{"name": "orders", "payload": "Order"}]
    values = {"name": "shop", "queues": listed, "payloads": models, **more}
    return validation.service(Draft(values))


def problems(models, *queues):
    with pytest.raises(SpecError) as caught:
        spec(models, *queues)
    return [str(problem) for problem in caught.value.problems]


def files(service):
    plan = builtin.render(templates.builtin("service"), contexts.service(service)).plan
    return {path: content.decode() for path, content in plan.files.items()}


def module(source):
    """The generated module, run."""
    made = types.ModuleType("generated_payloads")
    sys.modules[made.__name__] = made
    exec(source, made.__dict__)  # noqa: S102 - our own output
    return made


def test_a_payload_is_a_frozen_dataclass_that_the_handler_names():
    """The runtime reads the annotation, decodes, validates and rejects."""
    project = files(spec({"Order": ORDER, "Customer": CUSTOMER}))

    assert "async def handle_orders(message: payloads.Order," in project["shop/handlers.py"]
    made = module(project["shop/payloads.py"])
    order = pydantic.TypeAdapter(made.Order).validate_python(
        {
            "id": "00000000-0000-4000-8000-000000000001",
            "placed_at": "2030-01-31T12:00:00Z",
            "total": "9.90",
            "status": "paid",
            "customer": {"name": "Ada", "list": ["a"]},
            "order-id": 7,
            "from": "web",
            "parts": [],
        }
    )
    assert order.id == uuid.UUID("00000000-0000-4000-8000-000000000001")
    assert order.placed_at == dt.datetime(2030, 1, 31, 12, tzinfo=dt.UTC)
    assert (order.total, order.order_id, order.from_) == (Decimal("9.90"), 7, "web")
    assert (order.note, order.parent, order.customer.list_) == (None, None, ["a"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        order.note = "changed"


def test_no_payloads_no_module():
    """A service without models imports none."""
    project = files(validation.service(Draft({"name": "shop", "queues": [{"name": "orders"}]})))

    assert "shop/payloads.py" not in project
    assert "payloads" not in project["shop/handlers.py"]
    assert "payloads" not in project["loafer.toml"]


def test_the_kept_spec_has_the_models():
    """Reading `loafer.toml` gives the same service."""
    service = spec({"Order": ORDER, "Customer": CUSTOMER})

    kept = tomllib.loads(files(service)["loafer.toml"])

    assert kept["payloads"] == {"Order": ORDER, "Customer": CUSTOMER}
    assert validation.service(Draft(kept)) == service


def test_all_problems_of_models_are_found_at_once():
    """Each at its place in the spec."""
    assert problems(
        {
            "Order": {"lines": "list[OrderLin]", "a\nb": "str", "x": "st r", "n": 5, "s": "string"},
            "OrderLine": {},
            "order": {},
            "Any": {},
            "Loop": {"next": "Loop"},
            "Half": {"of": "Loop | None"},
        },
        {"name": "a", "payload": "Oder"},
        {"name": "b", "payload": "Order", "translator": "none"},
    ) == [
        "payloads.Order.'a\\nb': cannot name a field: " + names.KEY.pattern,
        "payloads.Order.x: 'st r' is not a Python annotation",
        "payloads.Order.n: must be a type, like 'str' or 'list[int] | None'",
        "payloads.order: 'order' cannot name a class: write it like Order",
        "payloads.Any: 'Any' is used by the generated code itself",
        "payloads.Order.lines: 'OrderLin' is neither a type nor a model; did you mean 'OrderLine'?",
        "payloads.Order.s: 'string' is neither a type nor a model; did you mean 'str'?",
        "payloads.Loop: always contains itself: make a field optional",
        "queues[0].payload: 'Oder' is not a model of payloads; did you mean 'Order'?",
        "queues[1].payload: is decoded from JSON: a queue with a payload has no translator of its own",
    ]


def test_queues_of_one_topic_have_one_payload():
    """Each of them gets every message of the topic."""
    found = problems(
        {"Order": {}, "News": {}},
        {"name": "a", "topic": "t", "payload": "Order"},
        {"name": "b", "topic": "t", "payload": "News"},
        {"name": "c", "topic": "t"},
        {"name": "d", "kind": "sns", "payload": "News"},
    )

    assert found == ["queues[1].payload: every queue of the topic t gets the same messages: Order"]


@pytest.mark.parametrize("raw", [[], "x", 5, {"Order": []}, {5: {}}, {"Order": {5: "str"}}])
def test_a_table_of_models_that_is_none_is_a_problem(raw):
    """Whatever stands in its place."""
    assert problems(raw, {"name": "a"})


def test_models_that_multiply_are_refused():
    """An example of them would never end, or be larger than memory."""
    wide = {f"M{n}": {f"f{i}": f"M{n + 1}" for i in range(9)} for n in range(20)} | {"M20": {}}
    deep = {f"M{n}": {"next": f"M{n + 1}"} for n in range(100)} | {"M100": {}}

    nested = {f"M{n}": {"next": f"{'dict[str, ' * 30}M{n + 1}{']' * 30}"} for n in range(5)} | {
        "M5": {}
    }

    for models in (wide, deep):
        assert "too large" in problems(models, {"name": "a", "payload": "M0"})[0]
    assert spec(nested, {"name": "a", "payload": "M0"})  # the innermost dict is empty


def test_examples_are_always_the_same():
    """And leave out what would never end."""
    service = spec({"Order": ORDER, "Customer": CUSTOMER})

    example = payloads.example("Order", service.payloads)

    assert example == payloads.example("Order", service.payloads)
    assert example["parts"] == []
    assert "parent" not in example
    assert example["note"] == "text"
    assert "note" not in payloads.example("Order", service.payloads, everything=False)


@pytest.mark.slow
@given(tables)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_model_of_a_valid_spec_takes_its_own_example(models):
    """Whatever the keys are called, and however the models refer to each other.

    The kept spec says the same, and the schema for editors accepts it.
    """
    draft = Draft({"name": "a", "queues": [{"name": "a", "payload": "Order"}], "payloads": models})
    found = [str(problem) for problem in validation.problems_of(draft)]
    assert all("itself" in problem or "too large" in problem for problem in found)
    if found:
        return
    service = spec(models)
    project = files(service)
    kept = tomllib.loads(project["loafer.toml"])
    assert validation.service(Draft(kept)) == service
    jsonschema.validate(kept, validation.schema())
    made = module(project["shop/payloads.py"])
    for name in model_names:
        example = json.loads(json.dumps(payloads.example(name, service.payloads)))
        assert pydantic.TypeAdapter(getattr(made, name)).validate_python(example)
        assert set(typing.get_type_hints(getattr(made, name))) == {
            field.name for field in dataclasses.fields(getattr(made, name))
        }


hostile = st.text(max_size=20) | st.sampled_from(
    ["{{ 7*7 }}", "{% raw %}", '"""', "'", "\\", "\n", "\u2028", "x: int = __import__('os')"]
)


@given(st.dictionaries(hostile, st.dictionaries(hostile, hostile, max_size=2), max_size=2), hostile)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_no_hostile_model_reaches_a_file(models, payload):
    """It is refused in one line each, or means what it says."""
    queue = {"name": "a", "payload": payload}
    draft = Draft({"name": "shop", "queues": [queue], "payloads": models})
    found = [str(problem) for problem in validation.problems_of(draft)]
    assert all(problem.isprintable() for problem in found)
    if found:
        return
    service = validation.service(draft)
    for path, content in files(service).items():
        assert content.isascii()
        assert "{{" not in content
        if path.endswith(".py"):
            ast.parse(content)


MODELS = {
    "Order": {
        "number": "int",
        "status": "Literal['placed', 'paid'] = 'placed'",
        "lines": "list[Line]",
        "parent": "Order | None",
        "extra": "dict[str, float]",
        "either": "int | str | None",
        "must": "Required[str | None]",
        "sent": "datetime",
        "anything": "Any",
        "price": "Decimal",
    },
    "Line": {"name": "str"},
    "Event": "Order | Line",
}


def read(raw):
    problems: list[Problem] = []
    found = payloads.read(raw, problems)
    return found if not problems else {}


def is_valid(schema, value):
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    return validator(schema).is_valid(value)


@pytest.mark.parametrize("name", MODELS)
def test_the_example_of_a_model_fits_its_schema(name):
    """Models that contain themselves and unions too."""
    found = read(MODELS)
    assert is_valid(payloads.schema(name, found), payloads.example(name, found))


@few
@given(tables)
def test_examples_fit_schemas_whatever_the_models_are(raw):
    """Names and types are drawn."""
    found = read(raw)
    for name in found:
        if payloads.why_no_example(name, found) is None:
            assert is_valid(payloads.schema(name, found), payloads.example(name, found))


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"number": "1"}, False),
        ({"number": 1.5}, False),
        ({"status": "lost"}, False),
        ({"lines": [{"name": 1}]}, False),
        ({"parent": None}, True),
        ({"extra": {"a": "b"}}, False),
        ({"either": None}, True),
        ({"either": []}, False),
        ({"must": None}, True),
    ],
)
def test_a_schema_says_what_a_field_may_be(change, fits):
    """Only fields that may be absent may be left out."""
    found = read(MODELS)
    schema = payloads.schema("Order", found)
    message = {**payloads.example("Order", found), **change}
    assert is_valid(schema, message) is fits
    assert sorted(schema["$defs"]["Order"]["required"]) == [
        "anything", "extra", "lines", "must", "number", "price", "sent",
    ]  # fmt: skip
    assert schema["$defs"]["Order"]["properties"]["status"]["default"] == "placed"
    del message["must"]
    assert not is_valid(schema, message)
