"""The Lambda function: its time limit, its events, its permissions, and the queues beside it."""

import pytest
from scaffold.shipping.rendered import CloudFormation, arn, decoded

from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.spec.specs import QueueSpec

PATH = "deploy/lambda.yaml"
QUEUES = [
    {"name": "orders", "dead_letter_queue": "dead", "max_receive_count": 3, "batch_size": 4},
    {"name": "steps.fifo", "handler_timeout": 2},
    {"name": "https://sqs.eu-west-1.amazonaws.com/123456789012/old", "kind": "s3"},
]


@pytest.fixture(scope="module")
def files(ship):
    return ship("lambda", "ecs", "sam", "cloudformation", "terraform", queues=QUEUES)


def function(text):
    (found,) = CloudFormation(text).resources("AWS::Serverless::Function").values()
    return found


def test_each_queue_invokes_the_function_with_its_batches(files):
    """What fails is reported by itself; a FIFO queue has no batching window."""
    found = function(files[PATH])

    assert found["Handler"] == "foobar.aws_lambda.handler"
    assert "handler = lambda_handler(manager)" in files["foobar/aws_lambda.py"]
    events = [event["Properties"] for event in found["Events"].values()]
    assert [(event["Queue"], event["BatchSize"]) for event in events] == [
        (arn("sqs", "orders"), 4),
        (arn("sqs", "steps.fifo"), 10),
        (arn("sqs", "old", "eu-west-1", "123456789012"), 10),
    ]
    assert [event.get("MaximumBatchingWindowInSeconds") for event in events] == [0, None, 0]
    for event in events:
        assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert event["ScalingConfig"] == {"MaximumConcurrency": "MaxConcurrency"}
    assert files[PATH].count("AWS advises a maxReceiveCount of 5 or more") == 1


def test_the_function_may_do_what_the_service_does_and_nothing_else(files):
    """Its role has the statements of a task's role, and writes the log."""
    roles = CloudFormation(files[PATH]).resources("AWS::IAM::Role")
    (task,) = CloudFormation(files["deploy/ecs.yaml"]).resources("AWS::IAM::Role")["TaskRole"][
        "Policies"
    ]

    (role,) = roles.values()
    assert role["Policies"] == [task]
    assert role["ManagedPolicyArns"] == [
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    ]
    (trusted,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert function(files[PATH])["Role"] == "FunctionRole.Arn"


def test_queues_hide_a_message_for_six_times_the_time_limit(files):
    """In every artefact that makes them, dead-letter queues excepted."""
    limit = function(files[PATH])["Timeout"]

    assert limit == 60 + 10
    for path in ("deploy/sam.yaml", "deploy/cloudformation.yaml"):
        queues = CloudFormation(files[path]).resources("AWS::SQS::Queue").values()
        found = {queue["QueueName"]: queue.get("VisibilityTimeout") for queue in queues}
        assert found == {"orders": 6 * limit, "steps.fifo": 6 * limit, "dead": None}
    assert files["deploy/terraform/main.tf"].count(f"= {6 * limit}\n") == 2


@pytest.mark.parametrize(
    ("options", "fifo", "seconds"),
    [
        ({}, False, 60),
        ({"concurrency": 3}, False, 240),
        ({"concurrency": 3, "batch_size": 2}, False, 60),
        ({"handler_timeout": 1.5}, False, 2),
        ({"batch_size": 3}, True, 180),
        ({"rate_limit": 0.5, "handler_timeout": 1}, False, 21),
        ({"rate_limit": 1e-300}, False, 900 * 900),
    ],
)
def test_the_time_limit_is_what_a_batch_may_take(options, fifo, seconds):
    """And ten seconds besides; messages of one group come one after the other."""
    name = "orders.fifo" if fifo else "orders"
    queue = QueueSpec(name, "sqs", "handle_orders", options={"handler_timeout": 60, **options})

    assert queue.batch_seconds == seconds + 10


def test_the_time_limit_is_at_most_lambdas(ship):
    """Handlers that it overtakes are cancelled, and their messages reported."""
    text = ship("lambda", queues=[{"name": "a", "handler_timeout": 40000}])[PATH]

    assert function(text)["Timeout"] == 900
    assert "or Lambda's limit" in text


def test_a_visibility_timeout_that_is_too_short_for_lambda_is_refused(spec_of):
    """The line says how long it must be; a service without the function may have it."""
    queue = {"name": "a", "visibility_timeout": 419}

    with pytest.raises(
        LoaferKitError, match=r"queues\[0\].visibility_timeout: 419 is less than 420"
    ):
        spec_of(queue, wanted=("lambda",))
    with pytest.raises(LoaferKitError, match=r"3660, six times the 610 s .* of 'b.fifo': leave it"):
        spec_of(queue, {"name": "b.fifo"}, wanted=("lambda",))
    assert spec_of(queue, wanted=("ecs",))
    assert spec_of({**queue, "visibility_timeout": 420}, wanted=("lambda",))


@pytest.mark.slow
def test_the_linter_has_nothing_to_say(files):
    """Of the template as SAM transforms it."""
    from cfnlint.api import lint  # imports sympy, which takes seconds

    assert [str(match) for match in lint(files[PATH])] == []
    assert decoded(files[PATH])["Parameters"]["MaxConcurrency"]["MinValue"] == 2
