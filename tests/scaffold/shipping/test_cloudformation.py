"""The CloudFormation and SAM templates, as their own tools see them."""

import pytest
from scaffold.shipping.rendered import decoded

PATHS = {
    "cloudformation": "deploy/cloudformation.yaml",
    "sam": "deploy/sam.yaml",
    "ecs": "deploy/ecs.yaml",
}
SERVICES = {
    "one": [{"name": "orders"}],
    "both": [{"name": "a", "dead_letter_queue": "b"}, {"name": "b"}],
    "others'": [
        {
            "name": "https://sqs.eu-west-1.amazonaws.com/123456789012/a",
            "dead_letter_queue": "b",
            "kind": "sns",
        },
        {"name": "http://localhost:4566/queue/c", "handler": "on_c"},
        {"name": "d", "topic": "arn:aws:sns:eu-west-1:123456789012:t", "dead_letter_queue": "b"},
    ],
    "many": [{"name": f"a{n}", "dead_letter_queue": "b"} for n in range(12)],
}


def lint(text):
    from cfnlint.api import lint  # imports sympy, which takes seconds

    return [str(match) for match in lint(text)]


@pytest.mark.slow
@pytest.mark.parametrize("artefact", PATHS)
def test_the_linter_has_nothing_to_say(ship, artefact):
    """Not even a warning, about one of everything in one service."""
    assert lint(ship(artefact)[PATHS[artefact]]) == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_linter_has_nothing_to_say_about_any_service(ship, service):
    """From a single queue to more sources than a redrive-allow policy can name."""
    text = ship("cloudformation", queues=SERVICES[service])[PATHS["cloudformation"]]

    assert lint(text) == []


def test_a_plain_queue_needs_little(ship):
    """One queue, one alarm, one policy."""
    text = ship("cloudformation", queues=[{"name": "orders"}])[PATHS["cloudformation"]]

    kinds = [resource["Type"] for resource in decoded(text)["Resources"].values()]
    assert kinds == ["AWS::SQS::Queue", "AWS::CloudWatch::Alarm", "AWS::IAM::ManagedPolicy"]
    for word in ("Redrive", "dead", "sns", "SNS:", "Fifo"):
        assert word not in text


def test_sam_gets_the_same(ship):
    """All that it adds is its transform, so what is known of the one template holds for both."""
    project = ship("cloudformation", "sam")

    sam = decoded(project[PATHS["sam"]])

    assert sam.pop("Transform") == "AWS::Serverless-2016-10-31"
    assert sam == decoded(project[PATHS["cloudformation"]])
