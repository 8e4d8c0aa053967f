"""Parameters: what differs between the stages of a service."""

import pytest

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import command_line
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

STAGE = {"name": "STAGE", "default": "dev"}
TENANT = {"name": "TENANT"}


def spec(*queues, parameters=(STAGE, TENANT)):
    values = {"name": "shop", "queues": list(queues), "parameters": list(parameters)}
    return validation.service(Draft(values))


def test_names_take_the_values_of_an_environment():
    """A default counts where the environment has nothing, also an empty variable."""
    queue = {
        "name": "${TENANT}-orders-${STAGE}.fifo",
        "topic": "${STAGE}-orders.fifo",
        "dead_letter_queue": "${STAGE}-dead.fifo",
    }

    (found,) = spec(queue).resolved({"TENANT": "acme", "STAGE": ""}).queues

    assert found.name == "acme-orders-dev.fifo"
    assert (found.topic, found.dead_letter_queue) == ("dev-orders.fifo", "dev-dead.fifo")


def test_a_parameter_without_value_and_default_is_named():
    """In one line, before anything is asked for."""
    with pytest.raises(ConfigurationError, match=r"\ASet TENANT in the environment: shop has no"):
        spec({"name": "${TENANT}-a"}).resolved({"STAGE": "x"})


@pytest.mark.parametrize(
    ("name", "route", "handler"),
    [
        ("${STAGE}-orders", "orders", "handle_orders"),
        ("orders_${STAGE}", "orders", "handle_orders"),
        ("a-${STAGE}-b.fifo", "a-b.fifo", "handle_a_b"),
        ("${STAGE}.fifo", "stage.fifo", "handle_stage"),
        ("${STAGE}-${TENANT}", "stage-tenant", "handle_stage_tenant"),
        ("https://sqs.eu-west-1.amazonaws.com/1/${STAGE}-old", "old", "handle_old"),
        ("-plain--name-", "-plain--name-", "handle_plain_name"),
    ],
)
def test_route_and_handler_are_called_the_same_in_every_stage(name, route, handler):
    """By the part of the name that does not change."""
    (queue,) = spec({"name": name}).queues

    assert (queue.route_name, queue.handler) == (route, handler)


@pytest.mark.parametrize(
    ("queues", "parameters", "problem"),
    [
        (["${STAG}-a"], [STAGE], r"queues\[0\].name: 'STAG' is not a parameter; did you mean 'STAGE'"),
        (["${STAGE}-a"], [], r"name: 'STAGE' is not a parameter: declare it in `parameters`"),
        (["${stage}-a"], [STAGE], "cannot name a queue"),
        (["$STAGE-a"], [STAGE], "cannot name a queue"),
        (["${STAGE}" + "a" * 78], [STAGE], "cannot name a queue"),
        (["${STAGE}-a", "a-${STAGE}"], [STAGE], r"'a' is already the name of queues\[0\]"),
        (["a"], [{"name": "stage"}], "'stage' cannot name a parameter"),
        (["a"], [{"name": "AWS_REGION"}], "'AWS_REGION' has a meaning already"),
        (["a"], [{"name": "CLUSTER"}], "'CLUSTER' has a meaning already"),
        (["a"], [STAGE, STAGE], "'STAGE' cannot be told from 'STAGE'"),
        (["a"], [{"name": "A_1"}, {"name": "A1"}], "'A1' cannot be told from 'A_1'"),
        (["a"], [{"name": "A", "default": "x.y"}], r"parameters\[0\].default: 'x.y' cannot be part"),
        (["a"], [{"name": "A", "default": ""}], "cannot be part"),
        (["a"], [{"name": "A", "defualt": "b"}], "did you mean 'default'"),
        (["a"], ["STAGE"], r"parameters\[0\]: must be a table"),
    ],
)  # fmt: skip
def test_problems_of_parameters_are_told_with_their_places(queues, parameters, problem):
    """Each in one line."""
    with pytest.raises(SpecError, match=problem):
        spec(*({"name": name} for name in queues), parameters=parameters)


@pytest.mark.parametrize("raw", [None, "STAGE", {"STAGE": "dev"}, 3])
def test_parameters_that_are_no_list_are_told(raw):
    """Whatever a file holds."""
    problems = validation.problems_of(
        Draft({"name": "a", "queues": [{"name": "a"}], "parameters": raw})
    )

    assert [problem.place for problem in problems] == ["parameters"]


def test_the_lock_and_loafer_toml_keep_the_parameters():
    """The same spec comes out."""
    service = spec({"name": "${STAGE}-orders", "dead_letter_queue": "${TENANT}-dead"})

    assert validation.service(Draft(contexts.kept(contexts.service(service)))) == service


def test_flags_declare_parameters():
    """With a default or without one."""
    draft = command_line.declare(Draft({"parameters": [STAGE]}), ["TENANT", "TEAM=blue"])

    assert draft.values["parameters"] == [STAGE, TENANT, {"name": "TEAM", "default": "blue"}]


def test_a_plain_name_has_no_parameters():
    """A dollar sign alone is no parameter."""
    assert names.parameters_in("orders") == []
    assert names.parameters_in("${A}-${B_2}") == ["A", "B_2"]
