"""What `terraform show -json` prints, of a state and of a plan."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loafer_kit.exceptions import ConfigurationError, LoaferKitError
from loafer_kit.scaffold.sources import terraform
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import SpecError

DOCUMENTS = Path(__file__).parent / "documents"


def test_a_state_becomes_a_service():
    """Modules are looked into; redrive policies are JSON in texts, or resources of their own."""
    draft = terraform.read(DOCUMENTS / "shop.tfstate.json")

    assert draft.values["queues"] == [
        {
            "name": "orders.fifo",
            "content_based_deduplication": True,
            "dead_letter_queue": "orders-dlq.fifo",
            "max_receive_count": 4,
            "wait_time": 20,
            "visibility_timeout": 120,
        },
        {
            "name": "news",
            "kind": "sns",
            "topic": "news",
            "filter_policy": '{"kind": ["x"]}',
            "dead_letter_queue": "news-dlq",
            "max_receive_count": 7,
        },
    ]
    assert [note.message for note in draft.notes] == [
        "not looked at: aws_iam_role",
        "'aws_sqs_queue.orders_dlq': unsupported: message_retention_seconds",
        "'aws_sns_topic_subscription.mail': delivers by 'email', not to a queue",
    ]


def test_a_plan_refers_to_what_is_not_known_yet():
    """Its expressions lead to dead-letter queues and topics, also between instances of one each."""
    draft = terraform.read(DOCUMENTS / "shop.tfplan.json")

    assert draft.values["queues"] == [
        {"name": "orders", "dead_letter_queue": "orders-dlq", "visibility_timeout": 60},
        {"name": "work-a", "dead_letter_queue": "work-a-dlq"},
        {"name": "work-b", "dead_letter_queue": "work-b-dlq"},
        {"name": "this", "kind": "sns", "topic": "news"},
    ]
    messages = [note.message for note in draft.notes]
    assert (
        "'aws_sqs_queue.orders': its maxReceiveCount is known only when the plan is applied: "
        "the spec says 5" in messages
    )
    assert any("the spec calls it this" in message for message in messages)
    assert any("'inner' is left out: a queue has one topic" in message for message in messages)


@pytest.mark.parametrize("name", ["terraform.tfstate", "state.json"])
def test_a_state_file_is_an_error_that_says_what_to_run(tmp_path, name):
    """Terraform's own format is not that of its output."""
    file = tmp_path / name
    file.write_text(json.dumps({"version": 4, "lineage": "a", "resources": []}))

    with pytest.raises(ConfigurationError, match=r"run `terraform show -json \| loafer-kit"):
        validation.service(terraform.read(file))


LOG = [
    {"@level": "info", "@message": "Terraform 1.9.0", "terraform": "1.9.0", "type": "version"},
    {"@level": "info", "@message": "Plan: 1 to add", "type": "change_summary"},
]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("\n".join(map(json.dumps, LOG)), "the log of `terraform plan -json` is not read"),
        (json.dumps(LOG[0]), "the log of `terraform plan -json` is not read"),
        (json.dumps({"resource": {"aws_sqs_queue": {}}}), "a configuration is not read"),
    ],
)
@pytest.mark.parametrize("name", ["show.json", "-"])
def test_another_output_of_terraform_is_an_error_that_says_what_to_run(
    tmp_path, monkeypatch, name, content, what
):
    """The log of a plan is lines of JSON; a configuration in JSON is no output."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    (tmp_path / "show.json").write_text(content)

    with pytest.raises(ConfigurationError) as error:
        terraform.read(Path(name) if name == "-" else tmp_path / name)

    assert f"{what}; run `terraform plan -out plan && terraform show -json plan | " in str(
        error.value
    )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [{}, {"values": None}, {"planned_values": {"root_module": []}}])
def test_a_document_without_queues_is_a_problem(tmp_path, content):
    """The problem says what was looked for."""
    file = tmp_path / "show.json"
    file.write_text(json.dumps(content))

    with pytest.raises(SpecError, match="describes no queue"):
        validation.service(terraform.read(file))


hostile = st.text(max_size=12) | st.sampled_from(
    [
        "{{ 7*7 }}",
        "\n",
        "\u2028",
        "sqs",
        "arn:aws:sqs:x:1:q",
        "[" * 9999,
        '{"deadLetterTargetArn": 5}',
    ]
)
scalars = hostile | st.none() | st.booleans() | st.integers()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(hostile, inner, max_size=2),
    max_leaves=5,
)
keys = st.sampled_from(
    [
        "batch_size", "endpoint", "event_source_arn", "fifo_queue", "name", "protocol", "queue_url",
        "redrive_policy", "topic_arn", "visibility_timeout_seconds",
    ]
)  # fmt: skip
kinds = st.sampled_from(
    [
        "aws_sqs_queue",
        "aws_sns_topic",
        "aws_sns_topic_subscription",
        "aws_sqs_queue_redrive_policy",
        "aws_lambda_event_source_mapping",
    ]
)
addresses = st.sampled_from(["aws_sqs_queue.a", "aws_sns_topic.a", "module.m.aws_sqs_queue.a[0]"])
resources = st.fixed_dictionaries(
    {"type": kinds | values, "address": addresses | values, "name": values},
    optional={"values": st.dictionaries(keys, values, max_size=4) | values},
)
references = st.dictionaries(
    keys,
    st.fixed_dictionaries({"references": st.lists(addresses | values, max_size=2)}),
    max_size=2,
)
expressions = st.fixed_dictionaries({"address": addresses, "expressions": references | values})


@pytest.mark.slow
@given(
    st.lists(resources | values, max_size=4) | values,
    st.lists(expressions | values, max_size=3) | values,
    st.lists(
        st.fixed_dictionaries({"address": values, "resources": st.lists(resources, max_size=1)})
    )
    | values,
)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_no_output_is_a_crash(tmp_path_factory, found, configured, modules):
    """Whatever stands anywhere: a draft that validation accepts, or errors of one line each."""
    file = tmp_path_factory.mktemp("outputs") / "show.json"
    module = {"resources": found, "child_modules": modules}
    configuration = {"root_module": {"resources": configured, "module_calls": {"m": {}}}}
    content = {"planned_values": {"root_module": module}, "configuration": configuration}
    file.write_text(json.dumps(content))
    try:
        draft = terraform.read(file)
        messages = [*validation.problems_of(draft), *draft.notes]
    except LoaferKitError as error:
        messages = [error]
    assert all(str(message).isprintable() for message in messages)


def planned(address, values, kind="aws_sqs_queue"):
    """A resource of a plan; its name is the last part of its address."""
    name = address.partition("[")[0].rpartition(".")[2]
    return {"type": kind, "address": address, "name": name, "values": values}


def configured(address, **expressions):
    return {"address": address, "expressions": expressions}


def references(*found):
    return {"references": list(found)}


def constant(value):
    return {"constant_value": value}


def plan(tmp_path, module, configuration):
    file = tmp_path / "plan.json"
    content = {
        "planned_values": {"root_module": module},
        "configuration": {"root_module": configuration},
    }
    file.write_text(json.dumps(content))
    return terraform.read(file)


def child(address, *resources):
    return {"address": address, "resources": list(resources)}


def messages(draft):
    return [str(note.message) for note in draft.notes]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([{"name_prefix": "orders-"}, {"name_prefix": "refunds-"}], ["orders", "refunds"]),
        ([{}, {}], ["orders-this", "refunds-this"]),
        ([{}, {"name_prefix": "refunds-"}], ["this", "refunds"]),
        ([{"fifo_queue": True}, {}], ["orders-this.fifo", "refunds-this"]),
        ([{"name_prefix": "x-"}, {"name_prefix": "x-"}], ["orders-x", "refunds-x"]),
        ([{"name": "this"}, {}], ["this", "refunds-this"]),
    ],
)
def test_queues_without_a_known_name_are_told_apart(tmp_path, values, names):
    """By their prefixes, or by their modules; each name is noted."""
    modules = [
        child(f"module.{name}", planned(f"module.{name}.aws_sqs_queue.this", found))
        for name, found in zip(["orders", "refunds"], values, strict=True)
    ]

    draft = plan(tmp_path, {"child_modules": modules}, {})

    assert [queue["name"] for queue in draft.values["queues"]] == names
    for name, found in zip(names, values, strict=True):
        called = any(text.endswith(f"the spec calls it {name}") for text in messages(draft))
        assert called == ("name" not in found)


def test_instances_without_a_known_name_are_told_apart(tmp_path):
    """By their indices."""
    resources = [planned(f'aws_sqs_queue.q["{key}"]', {}) for key in ("a", "b")]

    draft = plan(tmp_path, {"resources": resources}, {})

    assert [queue["name"] for queue in draft.values["queues"]] == ["q-a", "q-b"]


QUEUE_MODULE = {
    "outputs": {
        "arn": {"expression": references("aws_sqs_queue.this.arn", "aws_sqs_queue.this")},
        "same": {"expression": references("module.inner.arn", "module.inner")},
    },
    "resources": [configured("aws_sqs_queue.this", redrive_policy=references("var.dead"))],
    "module_calls": {
        "inner": {
            "module": {
                "outputs": {
                    "arn": {
                        "expression": references("aws_sqs_queue.this.arn", "aws_sqs_queue.this")
                    }
                }
            }
        }
    },
}


def queues_of_modules(*names):
    return [
        child(f"module.{name}", planned(f"module.{name}.aws_sqs_queue.this", {"name": name}))
        for name in names
    ]


@pytest.mark.parametrize(
    ("dead", "expected"),
    [
        (references("module.dead.arn", "module.dead"), "dead"),
        (references('module.dead["x"].arn', 'module.dead["x"]', "module.dead"), "dead"),
        (references("aws_sqs_queue.own.arn", "aws_sqs_queue.own"), "own"),
        (references("var.missing"), None),
        (references("local.dead"), None),
        (constant(None), None),
    ],
)
def test_a_redrive_policy_is_followed_through_modules(tmp_path, dead, expected):
    """Through a variable to the call, and through an output to the queue."""
    is_instance = "x" in str(dead)
    modules = queues_of_modules("orders", 'dead["x"]' if is_instance else "dead")
    modules[1]["resources"][0]["values"]["name"] = "dead"
    own = planned("aws_sqs_queue.own", {"name": "own"})
    calls = {
        "orders": {"module": QUEUE_MODULE, "expressions": {"dead": dead}},
        "dead": {"module": QUEUE_MODULE},
    }

    draft = plan(tmp_path, {"resources": [own], "child_modules": modules}, {"module_calls": calls})

    queues = {queue["name"]: queue for queue in draft.values["queues"]}
    assert queues["orders"].get("dead_letter_queue") == expected
    assert set(queues) == {"orders", "dead", "own"} - {expected}
    is_left_out = any("its redrive_policy is known only when" in text for text in messages(draft))
    assert is_left_out == ("local" in str(dead))
    assumed = (
        "'module.orders.aws_sqs_queue.this': its maxReceiveCount is known only when the plan is "
        "applied: the spec says 5"
    )
    assert (assumed in messages(draft)) == (expected is not None)


def test_an_output_of_an_inner_module_is_followed(tmp_path):
    """Outputs may lead to outputs."""
    inner = "module.dead.module.inner"
    dead = child("module.dead") | {
        "child_modules": [child(inner, planned(f"{inner}.aws_sqs_queue.this", {"name": "deep"}))]
    }
    calls = {
        "orders": {
            "module": QUEUE_MODULE,
            "expressions": {"dead": references("module.dead.same", "module.dead")},
        },
        "dead": {"module": QUEUE_MODULE},
    }

    draft = plan(
        tmp_path,
        {"child_modules": [*queues_of_modules("orders"), dead]},
        {"module_calls": calls},
    )

    assert draft.values["queues"] == [{"name": "orders", "dead_letter_queue": "deep"}]


def test_a_policy_that_may_name_several_queues_makes_no_routes(tmp_path):
    """It is not known which one it names: none of them is consumed."""
    resources = [planned(f"aws_sqs_queue.{name}", {"name": name}) for name in ("orders", "a", "b")]
    policy = references("aws_sqs_queue.a.arn", "aws_sqs_queue.b.arn", "var.which")

    draft = plan(
        tmp_path,
        {"resources": resources},
        {"resources": [configured("aws_sqs_queue.orders", redrive_policy=policy)]},
    )

    assert draft.values["queues"] == [{"name": "orders"}]
    assert any("its redrive_policy is known only when" in text for text in messages(draft))


def test_references_that_lead_back_to_themselves_end(tmp_path):
    """A module's variable may be its own output."""
    looping = {
        "outputs": {"arn": {"expression": references("var.dead")}},
        "resources": [configured("aws_sqs_queue.this", redrive_policy=references("var.dead"))],
    }
    calls = {
        "orders": {"module": looping, "expressions": {"dead": references("module.orders.arn")}}
    }

    draft = plan(tmp_path, {"child_modules": queues_of_modules("orders")}, {"module_calls": calls})

    assert draft.values["queues"] == [{"name": "orders"}]
