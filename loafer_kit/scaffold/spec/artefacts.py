"""The values of `--with`: one row per artefact, for the flag, validation, JSON Schema and docs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.problems import Problem


@dataclass(frozen=True, slots=True)
class Artefact:
    """Files that ship a service; `paths` are relative to the project, with `{package}` for its name."""

    name: str
    doc: str
    paths: tuple[str, ...]


ARTEFACTS = (
    Artefact(
        "ci",
        "a GitHub Actions workflow that lints, type-checks and tests",
        (".github/workflows/ci.yml",),
    ),
    Artefact(
        "compose",
        "the service beside a local SQS server, in containers",
        ("compose.yaml",),
    ),
    Artefact(
        "cloudformation",
        "the queues, their alarms and the IAM policy, as a CloudFormation stack",
        ("deploy/cloudformation.yaml",),
    ),
    Artefact(
        "sam",
        "the same as a SAM application",
        ("deploy/sam.yaml",),
    ),
    Artefact(
        "terraform",
        "the same as a Terraform module",
        (
            "deploy/terraform/main.tf",
            "deploy/terraform/outputs.tf",
            "deploy/terraform/variables.tf",
            "deploy/terraform/versions.tf",
        ),
    ),
    Artefact(
        "kubernetes",
        "a Deployment that KEDA scales on the queues' lengths",
        ("deploy/kubernetes.yaml",),
    ),
    Artefact(
        "ecs",
        "an ECS service on Fargate that scales on the backlog of each task",
        ("deploy/ecs.yaml",),
    ),
    Artefact(
        "lambda",
        "an AWS Lambda function with the same routes, as a SAM application",
        ("deploy/lambda.yaml", "tests/test_aws_lambda.py", "{package}/aws_lambda.py"),
    ),
    Artefact(
        "monitoring",
        "metrics of the service, a Grafana dashboard, Prometheus alerts and their runbook",
        (
            "deploy/monitoring/alerts.yaml",
            "deploy/monitoring/dashboard.json",
            "deploy/monitoring/runbook.md",
        ),
    ),
)

#: Those that a service of RabbitMQ may have.
FOR_RABBITMQ = ("ci", "compose", "kubernetes")

NAMES = tuple(artefact.name for artefact in ARTEFACTS)


def problems_of(wanted: object) -> Iterator[Problem]:
    """The problems of a spec's `with`."""
    if not isinstance(wanted, list):
        yield Problem(("with",), f"must be a list of {', '.join(NAMES)}")
        return
    for index, name in enumerate(wanted):
        if name not in NAMES:
            hint = names.did_you_mean(str(name), NAMES)
            message = f"{quoted(str(name))} is not one of {', '.join(NAMES)}{hint}"
            yield Problem(("with", index), message)


def in_order(wanted: object) -> tuple[str, ...]:
    """The artefacts of a valid `with`, each once, in the order of `ARTEFACTS`."""
    return tuple(name for name in NAMES if name in cast("Sequence[str]", wanted))
