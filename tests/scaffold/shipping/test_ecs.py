"""The ECS service: as many tasks as the backlog asks for, each with the permissions it needs."""

from scaffold.shipping.rendered import decoded

PATH = "deploy/ecs.yaml"


def load(text):
    return decoded(text)["Resources"]


def test_each_queue_scales_the_tasks_by_its_own_backlog(ship):
    """The target is what one task works off in a minute; dead letters scale nothing."""
    policies = {
        resource["Properties"]["PolicyName"]: resource["Properties"][
            "TargetTrackingScalingPolicyConfiguration"
        ]
        for resource in load(ship("ecs")[PATH]).values()
        if resource["Type"] == "AWS::ApplicationAutoScaling::ScalingPolicy"
    }

    assert {name: policy["TargetValue"] for name, policy in policies.items()} == {
        "orders": 600,
        "orders-created": 600,
        "news.fifo": 600,
        "prices": 3000,
        "slow": 4,
        "old": 600,
    }
    *measured, result = policies["orders"]["CustomizedMetricSpecification"]["Metrics"]
    assert [metric["MetricStat"]["Metric"]["MetricName"] for metric in measured] == [
        "ApproximateNumberOfMessagesVisible",
        "RunningTaskCount",
    ]
    assert result["Expression"] == "backlog / tasks"


def test_the_computation_stands_beside_its_result(ship):
    """What was assumed is called a guess, a limit a limit."""
    text = ship("ecs")[PATH]

    assert (
        "# One task for every 3000 messages of prices: what it works off in a minute, "
        "50 at a time, 1 s each (a guess: measure yours).\n" in text
    )
    assert "# One task for every 4 messages of slow: what it handles at the same time.\n" in text
    limited = ship("ecs", queues=[{"name": "a", "handler_timeout": 2, "rate_limit": 0.5}])[PATH]
    assert "10 at a time, at most 2 s each, at most 0.5 begun in a second.\n" in limited


def test_a_task_is_not_killed_while_it_finishes(ship):
    """Its time to stop is longer than the service's own, and it writes nothing to its disk."""
    (task,) = load(ship("ecs")[PATH])["TaskDefinition"]["Properties"]["ContainerDefinitions"]

    assert task["StopTimeout"] == 45
    assert task["ReadonlyRootFilesystem"] is True


def test_a_task_is_replaced_when_a_restart_helps(ship):
    """ECS ignores the check of the image; these values are within its bounds."""
    (task,) = load(ship("ecs")[PATH])["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    check = task["HealthCheck"]

    assert check["Command"] == ["CMD", "loafer-kit", "health", "--live"]
    assert 5 <= check["Interval"] <= 300
    assert 2 <= check["Timeout"] <= 60
    assert 1 <= check["Retries"] <= 10
    assert 0 <= check["StartPeriod"] <= 300
