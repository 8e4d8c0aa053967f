"""Topics that a service brings, and topics that exist."""

import hcl2
import pytest

from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.spec import validation
from loafer_kit.scaffold.spec.specs import Draft, SpecError

ARN = "arn:aws:sns:eu-west-1:123456789012:news"


def spec(topic):
    return validation.service(Draft({"name": "shop", "queues": [{"name": "a", "topic": topic}]}))


@pytest.mark.parametrize(
    ("topic", "name", "creates"),
    [
        ("news", "news", True),
        ({"name": "news"}, "news", True),
        ({"name": "news", "create": True}, "news", True),
        ({"name": "news", "create": False}, "news", False),
        ({"name": ARN, "create": False}, ARN, False),
    ],
)
def test_a_topic_is_a_name_or_a_table(topic, name, creates):
    """The lock and loafer.toml keep it."""
    service = spec(topic)

    (queue,) = service.queues
    assert (queue.kind, queue.topic, queue.creates_topic) == ("sns", name, creates)
    assert validation.service(Draft(contexts.kept(contexts.service(service)))) == service


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        ({"create": False}, r"queues\[0\].topic.name: is missing"),
        ({"name": "a b"}, "is neither a topic's name"),
        ({"name": "news", "create": "no"}, r"topic.create: must be true or false, not 'no'"),
        ({"name": "news", "creat": False}, "did you mean 'create'"),
        ({"name": ARN, "create": True}, r"topic.create: a topic that has an ARN exists already"),
        (["news"], r"queues\[0\].topic: must be a text, not a list"),
    ],
)
def test_problems_of_a_topic_are_told_with_their_places(topic, problem):
    """Each in one line."""
    with pytest.raises(SpecError, match=problem):
        spec(topic)


def test_a_topic_that_exists_is_subscribed_to_and_not_created(ship):
    """By its name in the account of the deployment."""
    topic = {"name": "news", "create": False}
    files = ship("cloudformation", "terraform", queues=[{"name": "a", "topic": topic}])

    assert 'topic = { name = "news", create = false }\n' in files["loafer.toml"]
    stack = files["deploy/cloudformation.yaml"]
    assert "AWS::SNS::Topic\n" not in stack
    arn = '!Sub "arn:${AWS::Partition}:sns:${AWS::Region}:${AWS::AccountId}:news"'
    assert f"      TopicArn: {arn}\n" in stack
    assert f"                aws:SourceArn: {arn}\n" in stack
    main = files["deploy/terraform/main.tf"]
    assert hcl2.loads(main)
    assert 'resource "aws_sns_topic" ' not in main
    assert 'data "aws_sns_topic" "news" {\n  name = "news"\n}\n' in main
    assert "  topic_arn = data.aws_sns_topic.news.arn\n" in main
