"""The alarms in each artefact that has some: on what, and from when."""

import pytest
from scaffold.conftest import QUEUES
from scaffold.shipping.rendered import PATHS, CloudFormation, Terraform

from loafer_kit.scaffold import shipping

# The properties of an alarm, under CloudFormation's names.
SETTINGS = {
    "Namespace": "namespace",
    "MetricName": "metric_name",
    "Statistic": "statistic",
    "Period": "period",
    "EvaluationPeriods": "evaluation_periods",
    "Threshold": "threshold",
    "ComparisonOperator": "comparison_operator",
    "TreatMissingData": "treat_missing_data",
}


@pytest.fixture(scope="module")
def expected(spec_of):
    """For each queue that is consumed the age of its messages, for dead letters their number."""
    return sorted(alarm for queue in shipping.queues(spec_of(*QUEUES)) for alarm in _alarms(queue))


def _alarms(queue):
    if queue.spec:
        age = shipping.alarm_age(queue.spec.options)
        yield _alarm(queue, "ApproximateAgeOfOldestMessage", periods=5, threshold=age)
    if queue.dead_letters_of:
        yield _alarm(queue, "ApproximateNumberOfMessagesVisible", periods=1, threshold=0)


def _alarm(queue, metric, periods, threshold):
    beyond = (60, periods, threshold, "GreaterThanThreshold", "notBreaching")
    return queue.name, "AWS/SQS", metric, "Maximum", *beyond


def test_a_stack_has_the_alarms(ship, expected):
    """And they tell the topic that the stack's parameter names, if it names one."""
    template = CloudFormation(ship("cloudformation")[PATHS["cloudformation"]])

    alarms = template.resources("AWS::CloudWatch::Alarm").values()

    assert sorted(map(_of_stack, alarms)) == expected
    for alarm in alarms:
        assert alarm["AlarmActions"] == {
            "Fn::If": ["HasAlarmTopic", ["AlarmTopicArn"], "AWS::NoValue"]
        }
    assert template.template["Conditions"]["HasAlarmTopic"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]
    }


def _of_stack(alarm):
    (dimension,) = alarm["Dimensions"]
    assert dimension["Name"] == "QueueName"
    return dimension["Value"], *(alarm[name] for name in SETTINGS)


@pytest.mark.slow
def test_a_module_has_the_alarms(ship, expected):
    """And they tell whom the module's variable names."""
    module = Terraform(ship("terraform")[PATHS["terraform"]])

    alarms = module.of_type("aws_cloudwatch_metric_alarm").values()

    assert sorted(_of_module(module, alarm) for alarm in alarms) == expected
    assert {alarm["alarm_actions"] for alarm in alarms} == {"${var.alarm_actions}"}
    assert len({alarm["alarm_name"] for alarm in alarms}) == len(alarms)


def _of_module(module, alarm):
    assert list(alarm["dimensions"]) == ["QueueName"]
    name = module.meaning(alarm["dimensions"]["QueueName"])
    return name, *(module.meaning(alarm[argument]) for argument in SETTINGS.values())
