"""What is read from a document is written into every artefact, and read from there again."""

import ast
import json
import tomllib

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scaffold.shipping.rendered import Terraform

from loafer_kit.local import LocalQueue
from loafer_kit.scaffold.project import projects
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import cloudformation, terraform
from loafer_kit.scaffold.spec import fields, validation
from loafer_kit.scaffold.spec.specs import Draft

QUEUES = [
    {"name": "orders", "dead_letter_queue": "dead", "visibility_timeout": 60, "wait_time": 20},
    {"name": "bills", "dead_letter_queue": "dead", "max_receive_count": 3, "wait_time": 0},
    {"name": "news.fifo", "topic": "paper.fifo", "dead_letter_queue": "dead.fifo"},
    {"name": "prices", "topic": "prices"},
    {"name": "rates", "topic": {"name": "prices-of-others", "create": False}},
    {"name": "old", "topic": "arn:aws:sns:eu-central-1:210987654321:prices"},
    {"name": "raw", "topic": "prices", "raw_message_delivery": True},
    {
        "name": "paid",
        "topic": "prices",
        "filter_policy": {
            "store": ["a $5 ${x} %{y} shop \u00e9 \U0001f600", {"anything-but": ["b"]}],
            'price "usd"': [{"numeric": [">=", 1e-05, "<", 1e16]}],
            "is": [True, False],
        },
    },
    {
        "name": "body",
        "topic": "prices",
        "raw_message_delivery": True,
        "filter_policy": '{"order": {"state": ["open", null]}, "$or": [{"a": ["x"]}, {"b": [2]}]}',
        "filter_policy_scope": "MessageBody",
    },
    {
        "name": "fast.fifo",
        "content_based_deduplication": True,
        "deduplication_scope": "messageGroup",
        "fifo_throughput_limit": "perMessageGroupId",
    },
]

# What no infrastructure says: it belongs to the service.
_OF_THE_SERVICE = {field.name for field in fields.OPTIONS} - {"visibility_timeout", "wait_time"}


def service_of(queues):
    return validation.service(Draft({"name": "foobar", "queues": queues}))


def read_again(artefact, files, folder):
    """The queues that an artefact gives to the source that reads it."""
    if artefact == "terraform":
        file = folder / "show.json"
        file.write_text(json.dumps(Terraform(files["deploy/terraform/main.tf"]).state()))
        draft = terraform.read(file)
    else:
        file = folder / "template.yaml"
        file.write_text(files[f"deploy/{artefact}.yaml"])
        draft = cloudformation.read(file)
    return service_of(draft.values["queues"]).queues


def infrastructure(queue):
    """A queue without what only the service knows."""
    options = {key: item for key, item in queue.options.items() if key not in _OF_THE_SERVICE}
    return queue.queue_name, queue.kind, queue.topic, queue.creates_topic, queue.attributes, (
        queue.dead_letter_queue, queue.max_receive_count, options
    )  # fmt: skip


@pytest.mark.parametrize("artefact", ["cloudformation", "sam", "terraform"])
def test_an_artefact_gives_the_queues_that_it_was_made_of(ship, tmp_path, artefact):
    """Read back as a source, it says the same of every queue."""
    files = ship(artefact, queues=QUEUES)

    found = read_again(artefact, files, tmp_path)

    expected = service_of(QUEUES).queues
    if artefact == "terraform":  # AWS's default, which a plan always has
        assert "wait_time" not in found[1].options
        assert expected[1].options.pop("wait_time") == 0
    assert list(map(infrastructure, found)) == list(map(infrastructure, expected))


_words = st.text("ab$%{}\"'\\\n #:,é\u2028\U0001f600", min_size=1, max_size=6)
_conditions = st.lists(
    _words
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(-1e9, 1e9, allow_nan=False)
    | st.none()
    | st.fixed_dictionaries({"prefix": _words})
    | st.fixed_dictionaries({"numeric": st.tuples(st.just("="), st.integers()).map(list)}),
    min_size=1,
    max_size=3,
)
_flat = st.dictionaries(_words, _conditions, min_size=1, max_size=3)
_nested = st.dictionaries(_words, _conditions | _flat, min_size=1, max_size=2)
_subscriptions = st.one_of(
    st.fixed_dictionaries({}, optional={"filter_policy": _flat}),
    st.fixed_dictionaries(
        {"filter_policy_scope": st.just("MessageBody")},
        optional={"filter_policy": _nested | _nested.map(json.dumps)},
    ),
)
_fifo = st.fixed_dictionaries(
    {},
    optional={
        "content_based_deduplication": st.booleans(),
        "deduplication_scope": st.just("messageGroup"),
    },
)


@given(_subscriptions, st.booleans(), _fifo, st.sampled_from([".fifo", ""]))
@settings(
    deadline=None,
    max_examples=max(5, settings().max_examples // 4),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_settings_come_back_from_every_artefact(tmp_path, subscription, raw, fifo, suffix):
    """Whatever a filter policy says, in CloudFormation, SAM, Terraform, Python and loafer.toml."""
    queue = {"name": f"a{suffix}", "topic": f"b{suffix}", "raw_message_delivery": raw}
    queues = [queue | subscription | (fifo if suffix else {})]
    service = validation.service(
        Draft(
            {
                "name": "foobar",
                "queues": queues,
                "with": ["cloudformation", "sam", "terraform", "compose"],
            }
        )
    )
    plan = projects.builtin("service").render(contexts.service(service)).plan
    files = {path: content.decode() for path, content in plan.files.items()}
    expected = [infrastructure(queue) for queue in service.queues]

    for artefact in ("cloudformation", "sam", "terraform"):
        assert [infrastructure(item) for item in read_again(artefact, files, tmp_path)] == expected

    kept = validation.service(Draft(tomllib.loads(files["loafer.toml"])))
    assert kept.queues == service.queues
    for path in ("tests/test_service.py", "compose.yaml"):
        assert created_in(files[path], path) == [created(queue) for queue in service.queues]


def created(queue):
    """A queue as the local server creates it."""
    return (
        queue.queue_name,
        queue.topic,
        queue.attribute_texts(fields.FIFO),
        queue.attribute_texts(fields.SUBSCRIPTION),
    )


def created_in(text, path):
    """The queues that a file's code creates, each as `created` has it."""
    if path == "compose.yaml":
        text = yaml.safe_load(text)["services"]["queues"]["command"][-1]
        assert "$" not in text.replace("$$", "")  # compose would take it for a variable
        text = text.replace("$$", "$")
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "LocalQueue"
    ]
    queues = [
        LocalQueue(
            ast.literal_eval(call.args[0]),
            **{item.arg: ast.literal_eval(item.value) for item in call.keywords},
        )
        for call in calls
    ]
    found = {
        queue.name: (queue.name, queue.topic, dict(queue.attributes), dict(queue.subscription))
        for queue in queues
    }
    return list(found.values())
